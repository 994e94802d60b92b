#![no_main]
//! What is accepted as `traceparent` is written back as a valid one with the same ids.

use libfuzzer_sys::fuzz_target;
use mesh_core::context::parse_traceparent;

fuzz_target!(|text: &str| {
    if let Some(trace) = parse_traceparent(text) {
        let written = trace.traceparent();
        let again = parse_traceparent(written.as_str()).expect("what we write, we read");
        assert_eq!(again.trace_id(), trace.trace_id());
        assert_eq!(again.span_id(), trace.span_id());
    }
});
