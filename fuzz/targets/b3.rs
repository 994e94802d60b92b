#![no_main]
//! What is accepted as `b3` can be propagated as `traceparent`.

use libfuzzer_sys::fuzz_target;
use mesh_core::context::{parse_b3, parse_traceparent};

fuzz_target!(|text: &str| {
    if let Some(trace) = parse_b3(text) {
        assert!(parse_traceparent(trace.traceparent().as_str()).is_some());
    }
});
