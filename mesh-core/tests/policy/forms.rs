//! Long and short form say the same, and nothing is lost on the way from one to the other.

use std::sync::Arc;

use mesh_core::policy::spec::Resource;
use mesh_core::policy::text::{Source, expand, load, shorten};
use proptest::prelude::*;

use super::arbitrary;

const LONG: &str = include_str!("../fixtures/ours-long.yaml");
const SHORT: &str = include_str!("../fixtures/ours-short.yaml");

fn resources(text: &str) -> Vec<Arc<Resource>> {
    let source = Source::new("text.yaml", text);
    let loaded = load(std::slice::from_ref(&source));
    let problems = loaded.diagnostics.render(&[source]);
    assert!(loaded.diagnostics.is_empty(), "{problems}\n{text}");
    let mut resources = loaded.resources;
    resources.sort_by_key(|r| r.id());
    resources
}

#[test]
fn the_short_form_expands_to_the_resources_of_the_long_one() {
    assert_eq!(resources(SHORT), resources(LONG));
    let expanded = expand(&Source::new("short.yaml", SHORT)).unwrap();
    assert_eq!(resources(&expanded), resources(LONG));
}

#[test]
fn the_long_form_shortens_to_the_short_one() {
    let shortened = shorten(&Source::new("long.yaml", LONG)).unwrap();
    assert_eq!(resources(&shortened), resources(SHORT));
    assert!(
        shortened.starts_with("service: shop/reviews:8080\nroute:\n"),
        "{shortened}"
    );
    assert!(!shortened.contains("---"), "{shortened}");
}

#[test]
fn everything_the_short_form_has() {
    let text = "\
service: shop/reviews:8080
ports: [{ port: 8080, appProtocol: grpc }]
endpoints: { static: [{ address: 10.0.0.1:8080, labels: { version: v1 } }] }
route:
- name: seven
  matches: [{ path: { type: Exact, value: /7 }, method: GET }]
  filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: a, value: b }] } }]
  backends: { reviews-v1: 90, ratings:9090: 10 }
  timeout: 2s
  retry: { attempts: 1 }
grpcRoute:
- matches: [{ method: { service: shop.Reviews } }]
access: { mode: Audit, allow: [{ from: [web, { namespace: batch }], grpc: [shop.Reviews/Get] }, { from: [] }] }
transport: { mtls: Permissive, minTlsVersion: 1.3 }
";
    let all = resources(text);
    assert_eq!(all.len(), 5);
    let shortened = shorten(&Source::new("a.yaml", text)).unwrap();
    assert!(!shortened.contains("kind:"), "{shortened}");
    assert_eq!(resources(&shortened), all);
    assert!(shortened.contains("ratings:9090: 10"), "{shortened}");
}

#[test]
fn a_resource_without_a_namespace_belongs_to_default() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: { name: reviews }\n";
    assert_eq!(
        resources(text)[0].id().to_string(),
        "Service default/reviews"
    );
    let loaded = mesh_core::policy::text::load_in(&[Source::new("a", text)], "shop");
    assert_eq!(loaded.resources[0].id().to_string(), "Service shop/reviews");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_is_lost_between_the_forms(given in arbitrary::resources()) {
        let given: Vec<Arc<Resource>> = given.into_iter().map(Arc::new).collect();
        let texts: Vec<String> = given.iter().map(|r| r.to_yaml()).collect();
        let long = texts.join("---\n");
        prop_assert_eq!(&resources(&long), &given, "long form:\n{}", long);
        let short = shorten(&Source::new("long.yaml", long)).unwrap();
        prop_assert_eq!(&resources(&short), &given, "short form:\n{}", short);
        let again = expand(&Source::new("short.yaml", short)).unwrap();
        prop_assert_eq!(&resources(&again), &given, "expanded:\n{}", again);
    }

    #[test]
    fn json_says_the_same(given in arbitrary::resource()) {
        let json = serde_json::to_string(&given).unwrap();
        let back: Resource = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(back, given);
    }
}
