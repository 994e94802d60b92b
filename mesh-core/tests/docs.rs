//! The pages under `docs/` that are written from the code: one page an error code, the metrics, the defaults.
//!
//! `BLESS=1 cargo test -p mesh-core --test docs` writes them; without it a page that differs from the code fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use mesh_core::error::{CodeInfo, registry};
use mesh_core::policy::spec::json_schema;
use mesh_core::policy::{Options, Source, check as check_policy, defaults};
use mesh_core::telemetry::names;
use serde_json::Value;

const WRITTEN: &str = "<!-- Written from the code by mesh-core/tests/docs.rs. -->";

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// Compares a page with what the code says, or writes it.
fn check(path: &Path, text: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("docs can be written");
        fs::write(path, text).expect("docs can be written");
        return;
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == text,
        "{} is stale; run `BLESS=1 cargo test -p mesh-core --test docs`",
        path.display()
    );
}

fn error_page(info: &CodeInfo) -> String {
    let mut page = format!(
        "# {}: {}\n\n{WRITTEN}\n\n{}\n",
        info.code, info.title, info.what
    );
    if let Some(kind) = info.kind {
        let _ = write!(
            page,
            "\n| HTTP status | gRPC code | `error.type` |\n| --- | --- | --- |\n| {} | {} | `{}` |\n",
            kind.http_status().as_u16(),
            kind.grpc_code(),
            kind.label()
        );
    }
    page.push_str("\n## What leads to it\n\n");
    for cause in info.causes {
        let _ = writeln!(page, "- {cause}");
    }
    page.push_str("\n## What to do\n\n");
    for (number, step) in info.next.iter().enumerate() {
        let _ = writeln!(page, "{}. {step}", number + 1);
    }
    page
}

#[test]
fn each_code_has_its_page_and_each_page_its_code() {
    let folder = docs().join("errors");
    let mut index = format!(
        "# Errors\n\n{WRITTEN}\n\nEvery error that the mesh makes has a code; `meshctl explain M2003` prints the same page.\n\n\
         | code | what |\n| --- | --- |\n"
    );
    let mut pages = BTreeSet::from(["README.md".to_owned()]);
    for info in registry() {
        assert!(
            !info.causes.is_empty() && !info.next.is_empty(),
            "{} says too little",
            info.code
        );
        let name = format!("{}.md", info.code);
        check(&folder.join(&name), &error_page(info));
        let _ = writeln!(index, "| [{0}]({0}.md) | {1} |", info.code, info.title);
        pages.insert(name);
    }
    check(&folder.join("README.md"), &index);
    for entry in fs::read_dir(&folder).expect("docs/errors") {
        let name = entry
            .expect("an entry")
            .file_name()
            .to_string_lossy()
            .into_owned();
        assert!(
            pages.contains(&name),
            "docs/errors/{name} belongs to no code"
        );
    }
}

#[test]
fn the_metrics_page_lists_every_metric() {
    let mut page = format!(
        "# Metrics\n\n{WRITTEN}\n\nPrometheus text. At most 2,000 series a process; what is over that counts under `_other`.\n\n\
         | name | type | unit | labels | meaning |\n| --- | --- | --- | --- | --- |\n"
    );
    for metric in names::METRICS {
        let labels: Vec<_> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} |",
            metric.name,
            format!("{:?}", metric.kind).to_lowercase(),
            metric.unit,
            labels.join(", "),
            metric.meaning
        );
    }
    check(&docs().join("metrics.md"), &page);
}

#[test]
fn the_defaults_page_lists_every_default() {
    let mut page = format!(
        "# Defaults, and why\n\n{WRITTEN}\n\nWhat holds where no policy says otherwise.\n\n\
         | setting | default | because |\n| --- | --- | --- |\n"
    );
    for default in defaults::table() {
        let _ = writeln!(
            page,
            "| {} | `{}` | {} |",
            default.knob, default.value, default.because
        );
    }
    check(&docs().join("defaults.md"), &page);
}

#[test]
fn the_schema_and_the_reference_list_every_field() {
    let schema = json_schema();
    // The order of keys depends on features of serde_json, so values are compared, not texts.
    let path = docs().join("policy.schema.json");
    let found = fs::read_to_string(&path).unwrap_or_default();
    if serde_json::from_str::<Value>(&found).ok().as_ref() != Some(&schema) {
        let text = serde_json::to_string_pretty(&schema).expect("JSON");
        check(&path, &(text + "\n"));
    }

    let mut page = format!(
        "# Policy reference\n\n{WRITTEN}\n\nEvery type and field of the long form; [policy](policy.md) says how they are used, \
         [defaults](defaults.md) what holds where a field is left out. [policy.schema.json](policy.schema.json) is the same \
         for editors.\n"
    );
    let mut seen = Vec::new();
    for document in schema["oneOf"].as_array().expect("kinds") {
        let Some(name) = document["properties"]["spec"]["$ref"].as_str() else {
            continue;
        };
        let _ = writeln!(page, "\n## {}", document["title"].as_str().expect("a kind"));
        let mut next = vec![type_name(name).to_owned()];
        while !next.is_empty() {
            let name = next.remove(0);
            if seen.contains(&name) {
                continue;
            }
            let shape = &schema["$defs"][&name];
            let _ = writeln!(
                page,
                "\n### {name}\n\n{}\n",
                shape["description"].as_str().expect("a text")
            );
            if let Some(words) = shape["oneOf"].as_array() {
                for word in words {
                    let (word, what) = (&word["const"], &word["description"]);
                    let _ = writeln!(
                        page,
                        "- `{}`: {}",
                        word.as_str().unwrap(),
                        what.as_str().unwrap()
                    );
                }
            }
            let fields = shape["properties"].as_object();
            let fields: BTreeMap<_, _> = fields.into_iter().flatten().collect();
            if !fields.is_empty() {
                page.push_str("| field | type | meaning |\n| --- | --- | --- |\n");
            }
            for (key, field) in fields {
                let needed = shape["required"]
                    .as_array()
                    .is_some_and(|r| r.iter().any(|r| r == key));
                let mark = if needed { " (needed)" } else { "" };
                let what = field["description"]
                    .as_str()
                    .unwrap_or_default()
                    .replace('|', "\\|");
                let _ = writeln!(
                    page,
                    "| `{key}`{mark} | {} | {what} |",
                    type_text(field, &mut next)
                );
            }
            seen.push(name);
        }
    }
    check(&docs().join("policy-reference.md"), &page);
}

fn type_name(reference: &str) -> &str {
    reference.rsplit('/').next().unwrap_or(reference)
}

/// A type in words; the named ones in it are put into `next`.
fn type_text(shape: &Value, next: &mut Vec<String>) -> String {
    if let Some(name) = shape["$ref"].as_str() {
        let name = type_name(name);
        next.push(name.to_owned());
        return format!("[{name}](#{})", name.to_lowercase());
    }
    match shape["type"].as_str() {
        Some("array") => format!("list of {}", type_text(&shape["items"], next)),
        Some("object") => format!("map to {}", type_text(&shape["additionalProperties"], next)),
        Some("string") if shape["pattern"].is_string() => "duration".to_owned(),
        Some("string") => "text".to_owned(),
        Some(other) => other.to_owned(),
        None => "status codes".to_owned(),
    }
}

/// The fenced blocks of `language` in a page.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    page.split(fence.as_str())
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn every_policy_on_a_page_is_valid() {
    let mut found = 0;
    for page in ["../README.md", "policy.md"] {
        let text = fs::read_to_string(docs().join(page)).expect("the page");
        for (number, text) in blocks(&text, "yaml").into_iter().enumerate() {
            found += 1;
            let source = Source::new(format!("{page}#{number}"), text);
            let checked = check_policy(&[source], &Options::partial());
            assert!(checked.errors.0.is_empty(), "{}", checked.rendered);
        }
    }
    assert!(found >= 4, "{found} blocks found");
}
