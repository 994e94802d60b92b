#![no_main]
//! A deadline that is read and sent on never grows.

use libfuzzer_sys::fuzz_target;
use mesh_core::deadline::{format_grpc_timeout, parse_grpc_timeout, parse_timeout_ms};

fuzz_target!(|text: &str| {
    if let Some(left) = parse_grpc_timeout(text) {
        let again = parse_grpc_timeout(format_grpc_timeout(left).as_str()).expect("eight digits");
        assert!(again <= left, "{left:?} became {again:?}");
    }
    let _ = parse_timeout_ms(text);
});
