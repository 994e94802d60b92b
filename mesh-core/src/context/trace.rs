use std::fmt;

use http::HeaderValue;

use super::tracestate::tracestate_of;

/// Flag bit: the caller records this trace.
pub(crate) const SAMPLED: u8 = 0x01;
/// Flag bit: the trace id is random (Trace Context level 2).
const RANDOM: u8 = 0x02;

/// Where a request stands in its trace (W3C Trace Context).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: u8,
    tracestate: Option<HeaderValue>,
}

/// A `traceparent` text of 55 characters, built without allocating.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Traceparent([u8; 55]);

/// Parses a `traceparent`: `00-{32 hex}-{16 hex}-{2 hex}`, lower case. Version `ff` and zero ids are
/// refused. A version above `00` may be longer; its first 55 characters are read (Trace Context
/// 3.2.4). Fuzz entry point.
pub fn parse_traceparent(text: &str) -> Option<TraceContext> {
    let bytes = text.as_bytes();
    let dash = |at: usize| bytes.get(at) == Some(&b'-');
    if bytes.len() < 55 || !(dash(2) && dash(35) && dash(52)) {
        return None;
    }
    let [version] = decode_hex::<1>(text.get(..2)?)?;
    let ends = bytes.len() == 55 || (version > 0 && dash(55));
    if version == 0xff || !ends {
        return None;
    }
    let trace_id = decode_hex::<16>(text.get(3..35)?)?;
    let span_id = decode_hex::<8>(text.get(36..52)?)?;
    let [flags] = decode_hex::<1>(text.get(53..55)?)?;
    TraceContext::from_ids(trace_id, span_id, flags & (SAMPLED | RANDOM))
}

// === impl TraceContext ===

impl TraceContext {
    /// A context from ids that were carried in; `None` if one of them is zero.
    pub fn from_ids(trace_id: [u8; 16], span_id: [u8; 8], flags: u8) -> Option<Self> {
        (trace_id != [0; 16] && span_id != [0; 8]).then_some(Self {
            trace_id,
            span_id,
            flags,
            tracestate: None,
        })
    }

    /// Starts a trace.
    pub fn start(sampled: bool, rng: &mut fastrand::Rng) -> Self {
        Self {
            trace_id: rng.u128(1..).to_be_bytes(),
            span_id: rng.u64(1..).to_be_bytes(),
            flags: RANDOM | if sampled { SAMPLED } else { 0 },
            tracestate: None,
        }
    }

    /// Continues the trace of the headers, or starts one. Reads `traceparent` with `tracestate`,
    /// then `b3`, then the `X-B3-*` headers. The second value says whether it was continued.
    pub fn extract(headers: &http::HeaderMap, rng: &mut fastrand::Rng) -> (Self, bool) {
        match Self::from_headers(headers) {
            Some(context) => (context, true),
            None => (Self::start(false, rng), false),
        }
    }

    /// The trace of the headers, if they carry one.
    pub fn from_headers(headers: &http::HeaderMap) -> Option<Self> {
        use crate::metadata as m;
        // Each look-up hashes a name: that costs more than a glance at the few names that most requests have.
        let known = |name: &http::HeaderName| {
            let name = name.as_str();
            name.starts_with("trace") || name.starts_with("b3") || name.starts_with("x-b3")
        };
        if headers.keys_len() <= 8 && !headers.keys().any(known) {
            return None;
        }
        let text = |name: http::HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
        let mut parents = headers.get_all(m::TRACEPARENT).iter();
        if let (Some(parent), None) = (parents.next(), parents.next()) {
            // Two traceparent headers are as good as none (Trace Context 3.2.2).
            if let Some(mut context) = parent.to_str().ok().and_then(parse_traceparent) {
                context.tracestate = tracestate_of(headers);
                return Some(context);
            }
        }
        if let Some(context) = text(m::B3).and_then(super::parse_b3) {
            return Some(context);
        }
        super::parse_b3_multi(
            text(m::B3_TRACE_ID)?,
            text(m::B3_SPAN_ID)?,
            text(m::B3_SAMPLED),
            text(m::B3_FLAGS),
        )
    }

    /// The same trace with a new span, whose parent is this one.
    #[must_use]
    pub fn child(&self, rng: &mut fastrand::Rng) -> Self {
        Self {
            span_id: rng.u64(1..).to_be_bytes(),
            ..self.clone()
        }
    }

    /// With this tracestate.
    #[must_use]
    pub fn with_tracestate(mut self, tracestate: Option<HeaderValue>) -> Self {
        self.tracestate = tracestate;
        self
    }

    /// The id of the trace.
    pub fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// The id of the span.
    pub fn span_id(&self) -> [u8; 8] {
        self.span_id
    }

    /// The flags: bit 0 sampled, bit 1 random trace id.
    pub fn flags(&self) -> u8 {
        self.flags
    }

    /// The caller records this trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// What other tracing systems want carried along.
    pub fn tracestate(&self) -> Option<&HeaderValue> {
        self.tracestate.as_ref()
    }

    /// The `traceparent` text.
    pub fn traceparent(&self) -> Traceparent {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        encode_hex(&self.trace_id, &mut text[3..35]);
        encode_hex(&self.span_id, &mut text[36..52]);
        encode_hex(&[self.flags], &mut text[53..55]);
        Traceparent(text)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.traceparent().as_str())
    }
}

// === impl Traceparent ===

impl Traceparent {
    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The text as bytes, for a header value.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The trace id, 32 hex digits.
    pub fn trace_id(&self) -> &str {
        self.as_str().get(3..35).unwrap_or_default()
    }

    /// The text as a header value: one that HTTP/2 keeps out of its table of values (RFC 7541 7.1.3),
    /// since none comes twice, and each would push out one that does.
    pub fn to_header(&self) -> HeaderValue {
        let value = HeaderValue::from_bytes(&self.0);
        let mut value = value.unwrap_or(HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Decodes exactly `2 * N` lower-case hex digits.
pub(crate) fn decode_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let bytes = text.as_bytes();
    if bytes.len() != 2 * N {
        return None;
    }
    let mut out = [0_u8; N];
    for (pair, to) in bytes.chunks_exact(2).zip(&mut out) {
        *to = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

/// The two digits of each byte.
static HEX: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = [[0; 2]; 256];
    let mut byte = 0;
    while byte < hex.len() {
        hex[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    hex
};

fn encode_hex(bytes: &[u8], out: &mut [u8]) {
    for (byte, to) in bytes.iter().zip(out.chunks_exact_mut(2)) {
        to.copy_from_slice(&HEX[usize::from(*byte)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata as m;
    use http::HeaderMap;
    use proptest::prelude::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(list: &[(http::HeaderName, &str)]) -> HeaderMap {
        let value = |text: &str| HeaderValue::from_str(text).unwrap();
        let mut headers = HeaderMap::new();
        for (name, text) in list {
            headers.append(name, value(text));
        }
        headers
    }

    #[test]
    fn a_traceparent_is_written_as_it_was_read() {
        let context = parse_traceparent(VALID).unwrap();
        assert!(context.is_sampled());
        assert_eq!(context.traceparent().as_str(), VALID);
        assert_eq!(context.traceparent().to_header(), VALID);
        assert_eq!(
            context.traceparent().trace_id(),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
    }

    #[test]
    fn what_the_standard_forbids_is_refused() {
        for text in [
            "",
            "00",
            &VALID[..54],
            // version ff
            &VALID.replacen("00-", "ff-", 1),
            // version 00 has exactly 55 characters
            &format!("{VALID}-x"),
            &format!("{VALID}."),
            // a later version may go on, but only after a dash
            &format!("{}.", VALID.replacen("00-", "cc-", 1)),
            // zero ids
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            // upper case
            &VALID.to_uppercase(),
            "00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            // no hex, wrong places of the dashes
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0.",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "00-4bf92f3577b34da6a3ce929d0e0e47360-0f067aa0ba902b7-01",
        ] {
            assert_eq!(parse_traceparent(text), None, "{text}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        for rest in ["", "-", "-what-the-future-holds"] {
            let text = format!("{}{rest}", VALID.replacen("00-", "cc-", 1));
            let context = parse_traceparent(&text).unwrap();
            assert_eq!(context.traceparent().as_str(), VALID);
        }
    }

    #[test]
    fn only_the_known_flags_are_kept() {
        let flags = |flags: &str| {
            let text = format!("{}{flags}", &VALID[..53]);
            parse_traceparent(&text).unwrap().flags()
        };
        assert_eq!(flags("00"), 0);
        assert_eq!(flags("03"), 3);
        assert_eq!(flags("ff"), 3);
    }

    #[test]
    fn a_child_keeps_the_trace_and_has_its_own_span() {
        let mut rng = fastrand::Rng::with_seed(1);
        let state = HeaderValue::from_static("a=1");
        let parent = parse_traceparent(VALID)
            .unwrap()
            .with_tracestate(Some(state.clone()));
        let child = parent.child(&mut rng);
        assert_eq!(child.trace_id(), parent.trace_id());
        assert_ne!(child.span_id(), parent.span_id());
        assert_eq!(
            (child.flags(), child.tracestate()),
            (parent.flags(), Some(&state))
        );
    }

    #[test]
    fn a_new_trace_has_a_random_id_and_says_so() {
        let mut rng = fastrand::Rng::with_seed(1);
        let context = TraceContext::start(true, &mut rng);
        assert_eq!(context.flags(), 3);
        assert_eq!(TraceContext::start(false, &mut rng).flags(), 2);
        assert_eq!(
            parse_traceparent(context.traceparent().as_str()),
            Some(context)
        );
    }

    #[test]
    fn headers_are_read_in_the_order_of_trust() {
        let b3 = "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1";
        let read = |list: &[_]| TraceContext::from_headers(&headers(list));
        let both = read(&[(m::TRACEPARENT, VALID), (m::TRACESTATE, "a=1"), (m::B3, b3)]).unwrap();
        assert_eq!(both.traceparent().as_str(), VALID);
        assert_eq!(both.tracestate().unwrap(), "a=1");
        let zipkin = read(&[
            (m::TRACEPARENT, "broken"),
            (m::TRACESTATE, "a=1"),
            (m::B3, b3),
        ]);
        let zipkin = zipkin.unwrap();
        assert!(zipkin.traceparent().as_str().contains("80f198ee"));
        assert_eq!(zipkin.tracestate(), None);
        let multi = read(&[
            (m::B3_TRACE_ID, "80f198ee56343ba864fe8b2a57d3eff7"),
            (m::B3_SPAN_ID, "e457b5a2e4d86bd1"),
            (m::B3_SAMPLED, "1"),
        ]);
        assert!(multi.unwrap().is_sampled());
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn two_traceparents_are_as_good_as_none() {
        let mut rng = fastrand::Rng::with_seed(1);
        let twice = headers(&[(m::TRACEPARENT, VALID), (m::TRACEPARENT, VALID)]);
        let (context, continued) = TraceContext::extract(&twice, &mut rng);
        assert!(!continued && context.traceparent().as_str() != VALID);
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "[0-9a-f]{2}-[0-9a-fA-F]{30,33}-[0-9a-f]{15,17}-[0-9a-f]{1,3}.{0,3}|.{0,60}") {
            if let Some(context) = parse_traceparent(&text) {
                let written = context.traceparent();
                prop_assert_eq!(parse_traceparent(written.as_str()), Some(context));
            }
        }
    }
}
