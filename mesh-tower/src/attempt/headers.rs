use http::{HeaderMap, HeaderValue};
use mesh_core::context::{Criticality, TraceContext};
use mesh_core::metadata;

use crate::context::CallContext;
use crate::deadline;
use crate::headers::find;

/// Writes what a callee needs to know of this attempt. Two of the values are made per attempt
/// (trace parent, time left); the rest is static or shared. Answers with the attempt's own span.
pub(super) fn inject(headers: &mut HeaderMap, call: &CallContext) -> TraceContext {
    let span = call.trace().child(&mut fastrand::Rng::new());
    headers.insert(metadata::TRACEPARENT, span.traceparent().to_header());
    if let Some(state) = span.tracestate() {
        headers.insert(metadata::TRACESTATE, state.clone());
    }
    if let Some(baggage) = call.baggage()
        && !headers.contains_key(metadata::BAGGAGE)
    {
        headers.insert(metadata::BAGGAGE, baggage.clone());
    }
    if call.criticality() != Criticality::default() {
        let text = HeaderValue::from_static(call.criticality().as_str());
        headers.insert(metadata::CRITICALITY, text);
    } else if find(headers, &metadata::CRITICALITY).is_some() {
        // What the application copied from somewhere is not what the call was decided to be.
        headers.remove(metadata::CRITICALITY);
    }
    let to_the_end = call.is_grpc() && call.has_inherited_deadline();
    deadline::inject(headers, to_the_end, call.left());
    if let Some(chosen) = call.chosen() {
        headers.insert(metadata::ROUTED, chosen.stamp());
    }
    let attempt = call.attempt_of_callee();
    if attempt > 1 || call.arrived_attempt() > 0 {
        // A call made for a retry is a retry for everything below it, whatever its own number.
        let number = attempt.saturating_add(call.arrived_attempt());
        headers.insert(metadata::ATTEMPT, HeaderValue::from(number));
        if call.is_grpc() {
            let previous = HeaderValue::from(number.saturating_sub(1));
            headers.insert(metadata::PREVIOUS_ATTEMPTS, previous);
        }
    }
    span
}
