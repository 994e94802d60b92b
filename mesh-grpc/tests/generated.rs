//! The checked-in code of `src/gen` and `tests/gen` is what the schema generates.
//!
//! `BLESS=1 cargo test -p mesh-grpc --test generated` writes it anew. No protoc is involved: `protox` reads the
//! schema, `tonic-prost-build` writes the code.

use std::{collections::BTreeMap, fs, path::Path};

fn generate(files: &[&str], include: &Path) -> BTreeMap<String, String> {
    let descriptors = protox::compile(files, [include]).expect("schema compiles");
    let out = std::env::temp_dir().join(format!(
        "mesh-grpc-generated-{}-{}",
        std::process::id(),
        files.len()
    ));
    fs::create_dir_all(&out).expect("scratch directory");
    tonic_prost_build::configure()
        .build_transport(false)
        .emit_rerun_if_changed(false)
        // Maps in order, so that equal resources are equal bytes and have one version.
        .btree_map(".")
        .out_dir(&out)
        .compile_fds(descriptors)
        .expect("code generates");
    let files = fs::read_dir(&out)
        .expect("scratch directory")
        .map(|entry| {
            let entry = entry.expect("scratch directory");
            let text = fs::read_to_string(entry.path()).expect("generated file");
            (entry.file_name().to_string_lossy().into_owned(), text)
        })
        .filter(|(name, _)| {
            name.starts_with("mesh.") || name.starts_with("envoy.") || name == "google.rpc.rs"
        })
        .collect();
    fs::remove_dir_all(&out).expect("scratch directory");
    files
}

fn check(fresh: &BTreeMap<String, String>, dir: &Path) {
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(dir).expect("directory");
        for (name, text) in fresh {
            fs::write(dir.join(name), text).expect("write");
        }
    }
    let mut stale = Vec::new();
    for (name, text) in fresh {
        if fs::read_to_string(dir.join(name)).ok().as_ref() != Some(text) {
            stale.push(name.clone());
        }
    }
    for entry in fs::read_dir(dir).expect("directory") {
        let name = entry
            .expect("directory")
            .file_name()
            .to_string_lossy()
            .into_owned();
        if name.ends_with(".rs") && !fresh.contains_key(&name) {
            stale.push(name);
        }
    }
    assert!(
        stale.is_empty(),
        "stale: {stale:?}; run `BLESS=1 cargo test -p mesh-grpc --test generated`"
    );
}

#[test]
fn generated_code_matches_the_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fresh = generate(
        &[
            "mesh/policy/v1/resources.proto",
            "mesh/control/v1/control.proto",
            "envoy/service/discovery/v3/discovery.proto",
        ],
        &root.join("proto"),
    );
    check(&fresh, &root.join("src/gen"));
}

#[test]
fn generated_code_of_the_test_service_matches_its_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fresh = generate(&["echo.proto"], &root.join("tests/proto"));
    check(&fresh, &root.join("tests/gen"));
}
