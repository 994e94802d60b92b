use std::collections::BTreeSet;

use mesh_grpc::pb::control as pb;

use super::rows::Effective;
use super::service::Policy;
use super::text::render;
use crate::cli::table::WIDTH;

const REVIEWS: &str = "\
service: shop/reviews
ports: [{ port: 8080 }]
route:
- matches:
  - path: { type: PathPrefix, value: /reviews }
    method: GET
    headers: [{ name: x-user, value: '7' }]
  backends: { reviews-v1: 90, reviews-v2: 10 }
  timeout: 2s
  retry: { attempts: 2, codes: [503] }
- matches:
  - path: { type: Exact, value: /reviews/old }
  filters:
  - type: RequestRedirect
    requestRedirect: { path: { type: ReplaceFullPath, replaceFullPath: /new } }
- {}
backend:
  outlierDetection: { consecutiveErrors: 7 }
access:
  mode: Enforce
  allow:
  - from: [web]
    methods: [GET]
---
service: shop/reviews-v1
subsetOf: reviews
selector: { version: v1 }
---
service: shop/reviews-v2
subsetOf: reviews
selector: { version: v2 }
backend:
  connectTimeout: 300ms
---
service: shop/web
ports: [{ port: 80 }]
---
apiVersion: policy.mesh/v1alpha1
kind: BackendPolicy
metadata: { name: all, namespace: shop }
spec:
  targetRefs: [{ kind: Mesh }]
  outlierDetection: { ejectFor: 45s }
  ceilings: { maxRequests: 200 }
";

fn policy(files: &[(&str, &str)], live: &[&str]) -> Policy {
    let sources: Vec<_> = files
        .iter()
        .map(|(name, text)| mesh_core::policy::Source::new(*name, *text))
        .collect();
    let checked = mesh_core::policy::check(&sources, &mesh_core::policy::Options::whole());
    let snapshot = checked
        .snapshot
        .unwrap_or_else(|| panic!("{}", checked.rendered));
    let answer = pb::PolicyResponse {
        revision: snapshot.revision().to_string(),
        resources: checked
            .resources
            .iter()
            .map(|each| mesh_grpc::wire::resource_to_proto(each))
            .collect(),
        files: files
            .iter()
            .map(|(name, text)| pb::PolicyFile {
                name: (*name).to_owned(),
                text: (*text).to_owned(),
            })
            .collect(),
        default_namespace: "default".to_owned(),
    };
    let live: BTreeSet<_> = live.iter().map(|name| name.parse().unwrap()).collect();
    Policy::new(answer, live).unwrap()
}

fn from<'a>(effective: &'a Effective, backend: &str, name: &str) -> (&'a str, String) {
    let group = effective
        .backends
        .iter()
        .find(|group| group.backends.iter().any(|b| b.name == backend))
        .unwrap();
    let setting = group.settings.iter().find(|s| s.name == name).unwrap();
    (&setting.value, setting.from.to_string())
}

#[test]
fn routes_are_in_the_order_in_which_they_are_tried_with_their_place() {
    let policy = policy(&[("reviews.yaml", REVIEWS)], &[]);
    let effective = policy.effective("reviews").unwrap();
    let steps = &effective.tables[0].steps;
    let conditions: Vec<_> = steps.iter().map(|s| s.condition.as_str()).collect();
    assert_eq!(
        conditions,
        ["/reviews/old", "GET /reviews/* x-user=7", "any"]
    );
    assert_eq!(steps[0].redirect.as_deref(), Some("redirect 302 path /new"));
    let weights: Vec<_> = steps[1]
        .targets
        .iter()
        .map(|t| (t.backend.as_str(), t.weight))
        .collect();
    assert_eq!(
        weights,
        [("shop/reviews-v1:8080", 90), ("shop/reviews-v2:8080", 10)]
    );
    assert_eq!(steps[1].from.source, "HTTPRoute shop/reviews rule 0");
    assert_eq!(steps[1].from.file.as_deref(), Some("reviews.yaml"));

    let rule = &effective.routes[0];
    let line = |name: &str| {
        let setting = rule.settings.iter().find(|s| s.name == name).unwrap();
        format!("{} {}", setting.value, setting.from)
    };
    assert_eq!(
        line("timeouts.request"),
        "2s HTTPRoute shop/reviews rule 0 (reviews.yaml:9)"
    );
    assert_eq!(
        line("retry.codes"),
        "503 HTTPRoute shop/reviews rule 0 (reviews.yaml:10)"
    );
    assert_eq!(line("retry.backoff"), "25ms default");
}

#[test]
fn backend_settings_name_the_policy_that_wins() {
    let policy = policy(&[("reviews.yaml", REVIEWS)], &[]);
    let effective = policy.effective("reviews.shop:8080").unwrap();
    let own = "shop/reviews:8080";
    let errors = from(&effective, own, "outlierDetection.consecutiveErrors");
    assert_eq!(
        errors,
        ("7", "BackendPolicy shop/reviews (reviews.yaml:18)".into())
    );
    // The service's policy replaces all of the field, so the mesh's value is not in force.
    let eject = from(&effective, own, "outlierDetection.ejectFor");
    assert_eq!(eject, ("30s", "default".into()));
    let requests = from(&effective, own, "ceilings.maxRequests");
    assert_eq!(requests.0, "200");
    assert!(
        requests
            .1
            .starts_with("BackendPolicy shop/all (reviews.yaml:")
    );

    // A subset has what its service has, as far as it sets nothing itself.
    for subset in ["shop/reviews-v1:8080", "shop/reviews-v2:8080"] {
        let same = from(&effective, subset, "outlierDetection.consecutiveErrors");
        assert_eq!(same, errors, "{subset}");
        assert_eq!(from(&effective, subset, "ceilings.maxRequests"), requests);
    }
    let v1 = from(&effective, "shop/reviews-v1:8080", "connectTimeout");
    assert_eq!(v1, ("1s", "default".into()));
    let v2 = from(&effective, "shop/reviews-v2:8080", "connectTimeout");
    assert_eq!(v2.0, "300ms");
    assert!(
        v2.1.starts_with("BackendPolicy shop/reviews-v2 "),
        "{}",
        v2.1
    );

    assert_eq!(effective.access.mode, "enforce");
    assert_eq!(effective.access.allow, ["web.shop: GET"]);
    assert_eq!(effective.access.from.source, "AccessPolicy shop/reviews");
}

#[test]
fn what_is_not_said_is_the_documented_default() {
    let policy = policy(
        &[("web.yaml", "service: shop/web\nports: [{ port: 80 }]\n")],
        &[],
    );
    let effective = policy.effective("shop/web").unwrap();
    let settings = effective.routes[0].settings.iter();
    for setting in settings.chain(&effective.backends[0].settings) {
        assert_eq!(setting.from.source, "default", "{setting:?}");
        let table = mesh_core::policy::defaults::table();
        if let Some(known) = table.iter().find(|known| known.knob == setting.name) {
            assert_eq!(
                setting.value.trim_end_matches('%'),
                known.value,
                "{setting:?}"
            );
        }
    }
}

#[test]
fn the_text_is_within_100_columns_and_cuts_no_condition() {
    let long = "a/very/long/path/of/segments/that/does/not/end/before/the/column/does";
    let text = format!(
        "service: shop/reviews\nroute:\n- name: a-route-with-a-name-that-is-longer-than-most\n  \
         matches:\n  - path: {{ type: Exact, value: /{long} }}\n    \
         headers: [{{ name: x-a, value: b }}, {{ name: x-c, value: d }}]\n\
         "
    );
    let name = format!("/etc/mesh/{}/reviews.yaml", "deep/".repeat(20));
    let policy = policy(&[(&name, &text)], &[]);
    let shown = render(&policy.effective("reviews").unwrap());
    for line in shown.lines() {
        assert!(line.chars().count() <= WIDTH, "{line}\n{shown}");
    }
    assert!(shown.contains("/reviews.yaml:3)"), "{shown}");
    assert!(
        shown.contains("x-a=b") && shown.contains("x-c=d"),
        "{shown}"
    );
    assert!(
        shown.contains("s/not/end/before/the/column/does"),
        "{shown}"
    );
    assert!(shown.contains("fits none of these"), "{shown}");
}

#[test]
fn a_service_without_policy_is_explained_and_an_unknown_one_is_not() {
    let policy = policy(&[("reviews.yaml", REVIEWS)], &["ops/batch", "ops/web"]);
    let effective = policy.effective("batch").unwrap();
    assert_eq!(effective.service, "ops/batch");
    assert_eq!(
        effective.backends[0].backends[0].endpoints,
        "instances registered as ops/batch"
    );
    assert!(effective.notes[0].starts_with("no Service resource"));

    for (wanted, says, next) in [
        (
            "reviws",
            "did you mean reviews.shop?",
            "meshctl explain reviews.shop",
        ),
        (
            "revews.shop",
            "did you mean reviews.shop?",
            "meshctl explain reviews.shop",
        ),
        (
            "shop/reveiws",
            "did you mean reviews.shop?",
            "meshctl explain reviews.shop",
        ),
        ("web", "web.ops, web.shop", "meshctl explain web.ops"),
        ("nonsense", "no code like M2003", "meshctl endpoints"),
    ] {
        let failure = policy.effective(wanted).unwrap_err();
        assert_eq!(failure.exit, 1);
        let text = failure.to_string();
        assert!(text.contains(says), "{wanted}: {text}");
        assert!(
            text.contains(&format!("\nnext: {next}")),
            "{wanted}: {text}"
        );
    }
}

#[test]
fn without_the_texts_the_policy_is_the_same_with_no_places() {
    let checked = mesh_core::policy::check(
        &[mesh_core::policy::Source::new("a", REVIEWS)],
        &mesh_core::policy::Options::whole(),
    );
    let answer = pb::PolicyResponse {
        revision: checked.snapshot.unwrap().revision().to_string(),
        resources: checked
            .resources
            .iter()
            .map(|each| mesh_grpc::wire::resource_to_proto(each))
            .collect(),
        ..Default::default()
    };
    let policy = Policy::new(answer, BTreeSet::new()).unwrap();
    let effective = policy.effective("reviews").unwrap();
    let errors = from(
        &effective,
        "shop/reviews:8080",
        "outlierDetection.consecutiveErrors",
    );
    assert_eq!(errors, ("7", "BackendPolicy shop/reviews".into()));
}

#[test]
fn what_servers_do_with_calls_is_shown_with_its_place() {
    let reviews = "service: shop/reviews
ports: [{ port: 80 }]
traffic:
  inbound:
    rateLimits:
    - { name: each, by: [{ identity: true }], requests: 100, per: 1s, burst: 20 }
    - { name: all, requests: 1000, per: 1s }
    queue: { size: 50 }
    timeout: 3s
";
    let mesh = "apiVersion: policy.mesh/v1alpha1
kind: TrafficPolicy
metadata: { name: all, namespace: shop }
spec:
  targetRefs: [{ kind: Mesh }]
  inbound:
    concurrency: { algorithm: Aimd, max: 300 }
    criticality: { rules: [{ from: [{ service: web }], level: Sheddable }] }
";
    let web = ("web.yaml", "service: shop/web\nports: [{ port: 80 }]\n");
    let files = [("reviews.yaml", reviews), ("mesh.yaml", mesh), web];
    let policy = policy(&files, &[]);
    let effective = policy.effective("reviews").unwrap();
    let line = |name: &str| {
        let found = effective.inbound.iter().find(|s| s.name == name);
        let found = found.unwrap_or_else(|| panic!("{name} in {:?}", effective.inbound));
        format!("{} | {}", found.value, found.from)
    };
    let own = "TrafficPolicy shop/reviews (reviews.yaml:";
    assert_eq!(
        line("rateLimits each"),
        format!("100 in 1s, 20 at once, by identity | {own}6)")
    );
    assert_eq!(
        line("rateLimits all"),
        format!("1000 in 1s, all together | {own}6)")
    );
    assert_eq!(line("queue.size"), format!("50 | {own}8)"));
    assert_eq!(line("queue.target"), "5ms | default");
    assert_eq!(line("timeout"), format!("3s | {own}9)"));
    let all = "TrafficPolicy shop/all (mesh.yaml:";
    assert_eq!(line("concurrency.algorithm"), format!("Aimd | {all}7)"));
    assert_eq!(line("concurrency.max"), format!("300 | {all}7)"));
    assert_eq!(line("concurrency.initial"), "20 | default");
    assert_eq!(
        line("criticality.rules[0]"),
        format!("sheddable, from web.shop | {all}8)")
    );
    assert_eq!(line("criticality.default"), "critical | default");
    let shown = render(&effective);
    assert!(shown.contains("\nCalls that arrive\n"), "{shown}");
    // Without a policy: the defaults, each named so.
    let policy = self::policy(&[web], &[]);
    let effective = policy.effective("web").unwrap();
    assert!(effective.inbound.iter().all(|s| s.from.source == "default"));
}
