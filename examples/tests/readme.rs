//! What the README shows is what the examples run.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The fenced blocks of `language` in the README.
fn blocks(language: &str) -> Vec<String> {
    let readme = read("README.md");
    let fence = format!("```{language}\n");
    readme
        .split(fence.as_str())
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

/// A line as it is compared: without indentation and without a comment at its end.
fn bare(line: &str) -> &str {
    line.split("//").next().unwrap_or_default().trim()
}

#[test]
fn each_rust_block_stands_in_an_example_that_is_run() {
    let sources: Vec<String> = ["client", "server", "hyper_client"]
        .map(|name| read(&format!("examples/src/bin/{name}.rs")))
        .into();
    let blocks = blocks("rust");
    assert_eq!(blocks.len(), 2, "the client and the server");
    for block in blocks {
        let lines: Vec<&str> = block
            .lines()
            .map(bare)
            .filter(|line| !line.is_empty())
            .collect();
        assert!(
            sources.iter().any(|source| {
                let source: Vec<&str> = source.lines().map(bare).collect();
                lines.iter().all(|line| source.contains(line))
            }),
            "no example has all of\n{block}"
        );
    }
}

#[test]
fn each_link_leads_somewhere() {
    for page in [
        "README.md",
        "docs/architecture.md",
        "docs/policy.md",
        "docs/running.md",
    ] {
        let text = read(page);
        let folder = root().join(page).parent().expect("a folder").to_owned();
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") {
                assert!(folder.join(target).exists(), "{page} links to {target}");
            }
        }
    }
}
