#![no_main]
//! Any text is either policy or a list of errors; it never panics, and never is both.

use libfuzzer_sys::fuzz_target;
use mesh_core::policy::{Options, Source, check};

fuzz_target!(|text: &str| {
    let source = Source::new("fuzz.yaml", text);
    let checked = check(&[source], &Options::whole());
    assert_eq!(checked.snapshot.is_none(), !checked.errors.0.is_empty());
});
