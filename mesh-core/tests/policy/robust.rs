//! Any text at all: an answer, never a panic.

use mesh_core::policy::text::{Source, expand, shorten};
use mesh_core::policy::{Options, check};
use proptest::prelude::*;
use proptest::sample::{Index, select};

fn try_all(text: &str) {
    let source = Source::new("any.yaml", text);
    for options in [Options::partial(), Options::whole()] {
        let checked = check(std::slice::from_ref(&source), &options);
        assert_eq!(checked.snapshot.is_some(), checked.errors.is_empty());
        let _ = serde_json::to_string(&checked.errors).unwrap();
    }
    if let Ok(long) = expand(&source) {
        expand(&Source::new("long.yaml", long)).unwrap();
    }
    if let Ok(short) = shorten(&source) {
        expand(&Source::new("short.yaml", short)).unwrap();
    }
}

/// Pieces of real policies and of trouble.
fn piece() -> impl Strategy<Value = String> {
    let words = select(vec![
        "service: shop/reviews:8080\n",
        "route:\n",
        "- timeout: 2s\n",
        "  backends: { a: 1 }\n",
        "access:\n",
        "  mode: Enforce\n",
        "  allow: [{ from: web }]\n",
        "backend: {}\n",
        "---\n",
        "kind: HTTPRoute\n",
        "spec:\n",
        "apiVersion: v1\n",
        "metadata: { name: a }\n",
        "  rules: [{}]\n",
        "endpoints: ",
        "{ registered: {} }\n",
        "null\n",
        "? a\n",
        ": b\n",
        "<<: *a\n",
        "&a ",
        "*a",
        "!!int x",
        "{",
        "}",
        "[",
        "]",
        "\"",
        "'",
        "|\n",
        ">-\n",
        "  ",
        "\t",
        "%YAML 1.2\n",
        "...\n",
        "#",
        "- ",
        ": ",
        ",",
        "\u{feff}",
        "\r",
        "1",
        "1e999",
        "0x",
        "~",
        "[[[[",
        "é",
    ]);
    prop_oneof![6 => words.prop_map(str::to_owned), 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_pieces(pieces in proptest::collection::vec(piece(), 0..24)) {
        try_all(&pieces.concat());
    }

    #[test]
    fn a_policy_with_random_damage(
        cuts in proptest::collection::vec((any::<Index>(), 0usize..12, piece()), 1..4),
        long in any::<bool>(),
    ) {
        let text = if long {
            include_str!("../fixtures/ours-long.yaml")
        } else {
            include_str!("../fixtures/ours-short.yaml")
        };
        let mut chars: Vec<char> = text.chars().collect();
        for (at, cut, insert) in cuts {
            let at = at.index(chars.len() + 1);
            let end = (at + cut).min(chars.len());
            chars.splice(at..end, insert.chars());
        }
        try_all(&chars.into_iter().collect::<String>());
    }

    #[test]
    fn any_resources(given in super::arbitrary::resources()) {
        let given: Vec<_> = given.into_iter().map(std::sync::Arc::new).collect();
        let _ = mesh_core::policy::validate::validate(&given, &Options::partial(), None);
        let _ = mesh_core::policy::validate::validate(&given, &Options::whole(), None);
    }
}
