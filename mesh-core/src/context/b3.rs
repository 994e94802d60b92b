use super::TraceContext;
use super::trace::{SAMPLED, decode_hex};

/// Parses Zipkin's single header, `{trace}-{span}[-{0|1|d}[-{parent}]]`, with a trace id of 16 or
/// 32 hex digits. A lone `0` or `1` (a sampling decision without ids) is `None`: there is no trace
/// to continue. Fuzz entry point.
pub fn parse_b3(text: &str) -> Option<TraceContext> {
    let mut parts = text.split('-');
    let (trace, span) = (parts.next()?, parts.next()?);
    let sampled = match parts.next() {
        None | Some("0") => false,
        Some("1" | "d") => true,
        Some(_) => return None,
    };
    if let Some(parent) = parts.next() {
        decode_hex::<8>(parent)?;
    }
    if parts.next().is_some() {
        return None;
    }
    ids(trace, span, sampled)
}

/// Reads Zipkin's separate headers; `flags` of `1` means debug, which implies sampled.
pub fn parse_b3_multi(
    trace: &str,
    span: &str,
    sampled: Option<&str>,
    flags: Option<&str>,
) -> Option<TraceContext> {
    let sampled = matches!(sampled, Some("1" | "true")) || flags == Some("1");
    ids(trace, span, sampled)
}

fn ids(trace: &str, span: &str, sampled: bool) -> Option<TraceContext> {
    let mut trace_id = [0_u8; 16];
    match trace.len() {
        32 => trace_id = decode_hex::<16>(trace)?,
        16 => trace_id[8..].copy_from_slice(&decode_hex::<8>(trace)?),
        _ => return None,
    }
    let flags = if sampled { SAMPLED } else { 0 };
    TraceContext::from_ids(trace_id, decode_hex::<8>(span)?, flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
    const SPAN: &str = "e457b5a2e4d86bd1";

    #[test]
    fn a_single_header_is_read() {
        for (rest, sampled) in [
            ("", false),
            ("-1", true),
            ("-d", true),
            ("-0", false),
            ("-1-05e3ac9a4f6e3b90", true),
        ] {
            let context = parse_b3(&format!("{TRACE}-{SPAN}{rest}")).unwrap();
            assert_eq!(context.is_sampled(), sampled, "{rest}");
            assert!(context.traceparent().as_str().contains(TRACE));
        }
    }

    #[test]
    fn a_short_trace_id_is_padded_on_the_left() {
        let context = parse_b3(&format!("{SPAN}-{SPAN}-1")).unwrap();
        let text = context.traceparent();
        assert_eq!(
            text.as_str(),
            format!("00-0000000000000000{SPAN}-{SPAN}-01")
        );
    }

    #[test]
    fn what_is_not_b3_is_refused() {
        for text in [
            "",
            "0",
            "1",
            TRACE,
            &format!("{TRACE}-{SPAN}-2"),
            &format!("{TRACE}-{SPAN}-1-xyz"),
            &format!("{TRACE}-{SPAN}-1-{SPAN}-1"),
            &format!("{TRACE}-0000000000000000-1"),
            &format!("00000000000000000000000000000000-{SPAN}-1"),
            &format!("{}-{SPAN}-1", &TRACE[..31]),
        ] {
            assert_eq!(parse_b3(text), None, "{text}");
        }
    }

    #[test]
    fn separate_headers_are_read() {
        let sampled = |s, f| parse_b3_multi(TRACE, SPAN, s, f).map(|c| c.is_sampled());
        assert_eq!(sampled(Some("1"), None), Some(true));
        assert_eq!(sampled(Some("0"), None), Some(false));
        assert_eq!(sampled(None, Some("1")), Some(true));
        assert_eq!(sampled(None, None), Some(false));
        assert_eq!(parse_b3_multi("x", SPAN, None, None), None);
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "[0-9a-fd-]{0,80}|.{0,40}") {
            let _ = parse_b3(&text);
        }
    }
}
