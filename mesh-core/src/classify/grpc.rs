//! Classes of gRPC statuses.

use std::time::Duration;

use http::HeaderMap;

use super::{Class, FailureKind};
use crate::metadata;

/// The class of a gRPC status. 4, 2, 13, 14, 15 and 8 are failures of the server, the rest are
/// answers about the request (the same division as Linkerd's).
pub fn grpc(code: u32) -> Class {
    match code {
        0 => Class::Success,
        1 => Class::Cancelled,
        4 => Class::Failure(FailureKind::Timeout),
        8 => Class::Failure(FailureKind::Overload),
        14 => Class::Failure(FailureKind::Unavailable),
        2 | 13 | 15 => Class::Failure(FailureKind::Server),
        17.. => Class::Failure(FailureKind::Server),
        _ => Class::ClientError,
    }
}

/// The `grpc-status` of headers or trailers.
pub fn status(headers: &HeaderMap) -> Option<u32> {
    let text = headers.get(metadata::GRPC_STATUS)?.to_str().ok()?;
    text.parse().ok()
}

/// The name of a status, as policy writes it: `UNAVAILABLE`.
pub const fn name(code: u32) -> Option<&'static str> {
    Some(match code {
        0 => "OK",
        1 => "CANCELLED",
        2 => "UNKNOWN",
        3 => "INVALID_ARGUMENT",
        4 => "DEADLINE_EXCEEDED",
        5 => "NOT_FOUND",
        6 => "ALREADY_EXISTS",
        7 => "PERMISSION_DENIED",
        8 => "RESOURCE_EXHAUSTED",
        9 => "FAILED_PRECONDITION",
        10 => "ABORTED",
        11 => "OUT_OF_RANGE",
        12 => "UNIMPLEMENTED",
        13 => "INTERNAL",
        14 => "UNAVAILABLE",
        15 => "DATA_LOSS",
        16 => "UNAUTHENTICATED",
        _ => return None,
    })
}

/// What a server says about a further attempt (gRFC A6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushback {
    /// Not before this time has passed.
    After(Duration),
    /// Do not try again.
    Never,
}

/// Reads `grpc-retry-pushback-ms`; a value that is negative or no number means "do not retry".
pub fn pushback(headers: &HeaderMap) -> Option<Pushback> {
    let value = headers.get(metadata::RETRY_PUSHBACK_MS)?;
    let wait = value
        .to_str()
        .ok()
        .and_then(|text| text.parse::<u32>().ok());
    Some(wait.map_or(Pushback::Never, |ms| {
        Pushback::After(Duration::from_millis(u64::from(ms)))
    }))
}

/// Whether a `content-type` is gRPC's: `application/grpc`, alone or followed by `+` or `;`.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn statuses_that_the_server_is_at_fault_for_are_failures() {
        let failures: Vec<u32> = (0..=16).filter(|&c| grpc(c).is_failure()).collect();
        assert_eq!(failures, [2, 4, 8, 13, 14, 15]);
        assert_eq!(grpc(1), Class::Cancelled);
        assert_eq!(grpc(5), Class::ClientError);
        assert!(grpc(8).is_overload());
        assert!((0..=16).all(|c| name(c).is_some()) && name(17).is_none());
    }

    #[test]
    fn pushback_is_read() {
        let read = |text| {
            let value = HeaderValue::from_static(text);
            pushback(&HeaderMap::from_iter([(
                metadata::RETRY_PUSHBACK_MS,
                value,
            )]))
        };
        assert_eq!(
            read("250"),
            Some(Pushback::After(Duration::from_millis(250)))
        );
        assert_eq!(read("0"), Some(Pushback::After(Duration::ZERO)));
        assert_eq!(read("-1"), Some(Pushback::Never));
        assert_eq!(read("soon"), Some(Pushback::Never));
        assert_eq!(pushback(&HeaderMap::new()), None);
    }

    #[test]
    fn grpc_is_told_by_its_content_type() {
        for (text, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x=y", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let value = HeaderValue::from_static(text);
            let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, value)]);
            assert_eq!(is_grpc(&headers), expected, "{text}");
        }
    }
}
