#![no_main]
//! An accepted id is within the grammar's limits and is its own text.

use libfuzzer_sys::fuzz_target;
use mesh_core::identity::SpiffeId;

fuzz_target!(|text: &str| {
    if let Ok(id) = SpiffeId::parse(text) {
        assert_eq!(id.as_str(), text);
        assert!(text.len() <= 2048 && id.trust_domain().len() <= 255);
        assert!(!id.path().split('/').any(|segment| segment == "." || segment == ".."));
    }
});
