//! What a gRPC response means: the verdict that metrics, ejection and retries share.
//!
//! The status of a gRPC call is in its trailers, or in its headers when there is no body. The division into classes is
//! `mesh_core::classify`'s; here is only where to look.

use http::{HeaderMap, StatusCode};
use mesh_core::classify::{self, Class};

/// The class of a gRPC response whose body has ended.
///
/// `trailers` is `None` when the stream ended without any. A response without a `grpc-status` was cut off or is not
/// gRPC at all: its HTTP status decides, and a 200 without a status is UNKNOWN (gRPC over HTTP/2, "Responses").
pub fn grpc(status: StatusCode, headers: &HeaderMap, trailers: Option<&HeaderMap>) -> Class {
    const UNKNOWN: u32 = 2;
    let code = trailers
        .and_then(classify::grpc::status)
        .or_else(|| classify::grpc::status(headers));
    match code {
        Some(code) => classify::grpc(code),
        None if status == StatusCode::OK => classify::grpc(UNKNOWN),
        None => classify::http(status, headers),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use mesh_core::{classify::FailureKind, metadata::GRPC_STATUS};

    use super::*;

    fn with(code: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static(code))])
    }

    #[test]
    fn trailers_decide_then_headers_then_the_http_status() {
        let none = HeaderMap::new();
        let ok = StatusCode::OK;
        assert_eq!(grpc(ok, &none, Some(&with("0"))), Class::Success);
        assert_eq!(
            grpc(ok, &with("0"), Some(&with("14"))),
            Class::Failure(FailureKind::Unavailable)
        );
        assert_eq!(grpc(ok, &with("5"), None), Class::ClientError);
        assert_eq!(
            grpc(ok, &none, None),
            Class::Failure(FailureKind::Server),
            "cut off"
        );
        assert_eq!(
            grpc(ok, &with("soon"), None),
            Class::Failure(FailureKind::Server),
            "no number"
        );
        assert!(grpc(StatusCode::SERVICE_UNAVAILABLE, &none, None).is_failure());
    }
}
