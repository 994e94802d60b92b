//! Classes of HTTP answers.

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use super::{Class, FailureKind};
use crate::error::{Code, ErrorKind};
use crate::metadata;

/// The class of an HTTP answer by its status and headers. gRPC answers also have a status in their
/// trailers: see [`super::grpc()`].
pub fn http(status: StatusCode, headers: &HeaderMap) -> Class {
    // The mesh itself answers with a failing status, so most answers need no look-up.
    if status.as_u16() < 400 {
        return Class::Success;
    }
    if let Some(kind) = mesh_reason(headers) {
        return from_reason(kind);
    }
    match status.as_u16() {
        429 => Class::Failure(FailureKind::Overload),
        503 if headers.contains_key(RETRY_AFTER) => Class::Failure(FailureKind::Overload),
        502 | 503 => Class::Failure(FailureKind::Unavailable),
        504 => Class::Failure(FailureKind::Timeout),
        // 501 Not Implemented and 505 are answers about the request, not failures of the endpoint.
        501 | 505 => Class::ClientError,
        500.. => Class::Failure(FailureKind::Server),
        _ => Class::ClientError,
    }
}

/// The kind of error that the peer's mesh answered with, if the mesh answered.
pub fn mesh_reason(headers: &HeaderMap) -> Option<ErrorKind> {
    let code: Code = headers.get(metadata::REASON)?.to_str().ok()?.parse().ok()?;
    ErrorKind::from_code(code)
}

fn from_reason(kind: ErrorKind) -> Class {
    match kind {
        ErrorKind::Denied | ErrorKind::NoRoute => Class::ClientError,
        ErrorKind::RateLimited | ErrorKind::Overloaded | ErrorKind::Throttled => {
            Class::Failure(FailureKind::Overload)
        }
        // The application behind that mesh did not answer in time, or broke: its fault.
        ErrorKind::Deadline | ErrorKind::AttemptTimeout => Class::Failure(FailureKind::Timeout),
        ErrorKind::Connect | ErrorKind::Protocol | ErrorKind::Unreached | ErrorKind::Unanswered => {
            Class::Failure(FailureKind::Unavailable)
        }
        ErrorKind::Internal => Class::Failure(FailureKind::Server),
        _ => Class::Failure(FailureKind::Mesh),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn class(status: u16, headers: &[(http::HeaderName, &'static str)]) -> Class {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect();
        http(StatusCode::from_u16(status).unwrap(), &headers)
    }

    #[test]
    fn a_status_has_one_class() {
        for (status, expected) in [
            (200, Class::Success),
            (204, Class::Success),
            (304, Class::Success),
            (400, Class::ClientError),
            (404, Class::ClientError),
            (429, Class::Failure(FailureKind::Overload)),
            (500, Class::Failure(FailureKind::Server)),
            (501, Class::ClientError),
            (502, Class::Failure(FailureKind::Unavailable)),
            (503, Class::Failure(FailureKind::Unavailable)),
            (504, Class::Failure(FailureKind::Timeout)),
            (599, Class::Failure(FailureKind::Server)),
        ] {
            assert_eq!(class(status, &[]), expected, "{status}");
        }
        assert!(class(503, &[(RETRY_AFTER, "1")]).is_overload());
    }

    #[test]
    fn an_answer_of_the_peers_mesh_is_not_held_against_the_endpoint() {
        let draining = class(503, &[(metadata::REASON, "M2015")]);
        assert!(draining.is_failure() && !draining.is_endpoint_failure());
        assert_eq!(
            class(403, &[(metadata::REASON, "M4001")]),
            Class::ClientError
        );
        assert!(class(503, &[(metadata::REASON, "M2014")]).is_overload());
        assert!(class(504, &[(metadata::REASON, "M2008")]).is_endpoint_failure());
        assert!(class(503, &[(metadata::REASON, "M2016")]).is_endpoint_failure());
        assert!(class(503, &[(metadata::REASON, "nonsense")]).is_endpoint_failure());
    }
}
