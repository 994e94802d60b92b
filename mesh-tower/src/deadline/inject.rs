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

/// Writes the time left into the header that means the same: `grpc-timeout` for a gRPC call whose
/// caller has set a deadline, which holds to the end of its stream; `x-mesh-timeout-ms` otherwise,
/// which is over with the answer's head. A limit of ours must not cut a stream. Computed again at each
/// send.
pub(crate) fn inject(headers: &mut HeaderMap, to_the_end: bool, left: Option<Duration>) {
    let Some(left) = left else { return };
    let left = left.max(Duration::from_millis(1));
    if to_the_end {
        let text = deadline::format_grpc_timeout(left);
        if let Ok(mut value) = HeaderValue::from_bytes(text.as_bytes()) {
            // None comes twice: in HTTP/2's table of values it would push out one that does.
            value.set_sensitive(true);
            headers.insert(metadata::GRPC_TIMEOUT, value);
        }
    } else {
        headers.insert(
            metadata::TIMEOUT_MS,
            number(deadline::format_timeout_ms(left)),
        );
    }
}
