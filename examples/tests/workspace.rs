//! The direction of dependencies, read from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Names of the crates that `package` names itself, development dependencies left out.
fn direct(metadata: &Value, package: &str) -> BTreeSet<String> {
    let packages = metadata["packages"].as_array().expect("packages");
    let package = packages
        .iter()
        .find(|p| text(p, "name") == package)
        .unwrap_or_else(|| panic!("no package {package}"));
    package["dependencies"]
        .as_array()
        .expect("dependencies")
        .iter()
        .filter(|d| d["kind"].is_null())
        .map(|d| text(d, "name").to_owned())
        .collect()
}

/// Everything that is compiled for `package`, through normal dependencies.
fn transitive(metadata: &Value, package: &str) -> BTreeSet<String> {
    let names: BTreeMap<&str, &str> = metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|p| (text(p, "id"), text(p, "name")))
        .collect();
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in metadata["resolve"]["nodes"].as_array().expect("nodes") {
        let normal = node["deps"].as_array().expect("deps").iter().filter(|d| {
            d["dep_kinds"]
                .as_array()
                .is_some_and(|kinds| kinds.iter().any(|k| k["kind"].is_null()))
        });
        edges.insert(text(node, "id"), normal.map(|d| text(d, "pkg")).collect());
    }
    let root = names
        .iter()
        .find(|(_, name)| **name == package)
        .map(|(id, _)| *id)
        .unwrap_or_else(|| panic!("no package {package}"));
    let mut seen = BTreeSet::new();
    let mut todo = vec![root];
    while let Some(id) = todo.pop() {
        if seen.insert(id) {
            todo.extend(edges.get(id).into_iter().flatten());
        }
    }
    seen.into_iter()
        .filter(|id| *id != root)
        .map(|id| names[id].to_owned())
        .collect()
}

// The features of tokio are those of the whole workspace here: what mesh-core asks of it has a test of its own.
#[test]
fn dependencies_point_one_way() {
    let metadata = metadata();
    let forbidden: [(&str, &[&str]); 5] = [
        (
            "mesh-core",
            &[
                "mesh-tower",
                "mesh-grpc",
                "mesh-shim",
                "mesh-control",
                "tower",
                "hyper",
                "hyper-util",
                "rustls",
                "tokio-rustls",
                "hickory-resolver",
                "tonic",
                "prost",
            ],
        ),
        ("mesh-tower", &["mesh-grpc", "mesh-shim", "mesh-control"]),
        ("mesh-grpc", &["mesh-shim", "mesh-control"]),
        ("mesh-control", &["mesh-shim"]),
        ("mesh-shim", &["mesh-control"]),
    ];
    for (package, forbidden) in forbidden {
        let all = transitive(&metadata, package);
        for name in forbidden {
            assert!(!all.contains(*name), "{package} may not depend on {name}");
        }
    }
}

#[test]
fn only_the_wire_crate_and_above_name_tonic() {
    let metadata = metadata();
    for package in ["mesh-core", "mesh-tower"] {
        let direct = direct(&metadata, package);
        for name in ["tonic", "prost", "tonic-prost", "tonic-build"] {
            assert!(!direct.contains(name), "{package} names {name}");
        }
    }
}

#[test]
fn core_takes_no_runtime_from_tokio() {
    let metadata = metadata();
    let core = metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .find(|p| text(p, "name") == "mesh-core")
        .expect("mesh-core");
    let tokio = core["dependencies"]
        .as_array()
        .expect("dependencies")
        .iter()
        .find(|d| text(d, "name") == "tokio" && d["kind"].is_null())
        .expect("mesh-core uses tokio's watch channel");
    assert_eq!(tokio["uses_default_features"], Value::Bool(false));
    for feature in tokio["features"].as_array().expect("features") {
        let feature = feature.as_str().unwrap_or_default();
        assert!(
            !["rt", "net", "time", "full", "process", "signal"].contains(&feature),
            "mesh-core asks tokio for `{feature}`"
        );
    }
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    for folder in [
        "mesh-core",
        "mesh-tower",
        "mesh-grpc",
        "mesh-shim",
        "control",
        "examples",
    ] {
        let manifest = std::fs::read_to_string(root.join(folder).join("Cargo.toml"))
            .unwrap_or_else(|e| panic!("{folder}/Cargo.toml: {e}"));
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{folder} must inherit the lints, unsafe_code = \"forbid\" among them"
        );
    }
}
