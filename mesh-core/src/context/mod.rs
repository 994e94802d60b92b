//! What travels with a request: deadline, trace, criticality, attempt, peer.
//!
//! [`TraceContext`] follows W3C Trace Context; Zipkin's B3 is read when there is no `traceparent`.
//! [`RequestContext`] is what a server takes from a request and a client sends on: the application
//! in between does nothing for it.

mod arrival;
mod b3;
mod baggage;
mod body_clock;
mod request;
mod stamp;
mod trace;
mod tracestate;

pub use arrival::Arrival;
pub use b3::{parse_b3, parse_b3_multi};
pub use baggage::{MAX_BAGGAGE, accept_baggage};
pub use body_clock::{BodyClock, Deadline};
pub use request::{Criticality, Exhausted, RequestContext};
pub use stamp::Stamp;
pub use trace::{TraceContext, Traceparent, parse_traceparent};
pub use tracestate::{MAX_TRACESTATE, accept_tracestate};
