//! The checked-in code of `src/gen` is what `proto/shop.proto` generates.
//!
//! `BLESS=1 cargo test -p mesh-examples --test generated` writes it anew. No protoc is involved.

use std::fs;
use std::path::Path;

#[test]
fn generated_code_matches_the_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile(["shop.proto"], [root.join("proto")]).expect("compiles");
    let scratch =
        std::env::temp_dir().join(format!("mesh-examples-generated-{}", std::process::id()));
    fs::create_dir_all(&scratch).expect("scratch directory");
    tonic_prost_build::configure()
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .out_dir(&scratch)
        .compile_fds(descriptors)
        .expect("generates");
    let fresh = fs::read_to_string(scratch.join("shop.rs")).expect("generated file");
    fs::remove_dir_all(&scratch).expect("scratch directory");

    let checked_in = root.join("src/gen/shop.rs");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&checked_in, &fresh).expect("write");
    }
    assert!(
        fs::read_to_string(&checked_in).ok().as_ref() == Some(&fresh),
        "stale: run `BLESS=1 cargo test -p mesh-examples --test generated`"
    );
}
