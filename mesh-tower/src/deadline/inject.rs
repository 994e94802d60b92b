use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use mesh_core::{deadline, metadata};

/// Writes the time left into the header that the protocol has for it: `grpc-timeout` for gRPC,
/// `x-mesh-timeout-ms` otherwise. Computed again at each send.
pub(crate) fn inject(headers: &mut HeaderMap, grpc: bool, limit: Option<Instant>, now: Instant) {
    let Some(limit) = limit else { return };
    let left = limit
        .saturating_duration_since(now)
        .max(Duration::from_millis(1));
    if grpc {
        if let Ok(value) = HeaderValue::from_bytes(deadline::format_grpc_timeout(left).as_bytes()) {
            headers.insert(metadata::GRPC_TIMEOUT, value);
        }
    } else {
        headers.insert(
            metadata::TIMEOUT_MS,
            HeaderValue::from(deadline::format_timeout_ms(left)),
        );
    }
}
