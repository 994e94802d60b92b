use std::cell::RefCell;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use mesh_core::{deadline, metadata};

thread_local! {
    /// The last value written: the first attempts over a route all have the same time left.
    static LAST: RefCell<(u64, HeaderValue)> =
        const { RefCell::new((0, HeaderValue::from_static("0"))) };
}

fn number(number: u64) -> HeaderValue {
    let kept = LAST.try_with(|last| {
        let mut last = last.borrow_mut();
        if last.0 != number {
            *last = (number, HeaderValue::from(number));
        }
        last.1.clone()
    });
    // The thread is ending.
    kept.unwrap_or_else(|_| HeaderValue::from(number))
}

/// Writes the time left into the header that the protocol has for it: `grpc-timeout` for gRPC,
/// `x-mesh-timeout-ms` otherwise. Computed again at each send.
pub(crate) fn inject(headers: &mut HeaderMap, grpc: bool, left: Option<Duration>) {
    let Some(left) = left else { return };
    let left = left.max(Duration::from_millis(1));
    if grpc {
        if let Ok(value) = HeaderValue::from_bytes(deadline::format_grpc_timeout(left).as_bytes()) {
            headers.insert(metadata::GRPC_TIMEOUT, value);
        }
    } else {
        headers.insert(
            metadata::TIMEOUT_MS,
            number(deadline::format_timeout_ms(left)),
        );
    }
}
