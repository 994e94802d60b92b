//! One rendering per code: what people see. `INSTA_UPDATE=always cargo test` rewrites them.

use std::fmt::Write;

use mesh_core::error::registry;
use mesh_core::policy::text::limits;
use mesh_core::policy::{Options, Source, check};

/// A route with `{}` in place of its one rule's fields.
fn rule(fields: &str) -> String {
    let indented = fields.replace('\n', "\n    ");
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\n\
         kind: HTTPRoute\n\
         metadata: {{ name: reviews, namespace: shop }}\n\
         spec:\n  parentRefs: [{{ group: \"\", kind: Service, name: reviews }}]\n  rules:\n  - {indented}\n"
    )
}

fn cases() -> Vec<(&'static str, Options, Vec<String>)> {
    let partial = Options::partial;
    let whole = Options::whole;
    let short = |rest: &str| format!("service: shop/reviews:8080\n{rest}");
    let defined = "service: shop/reviews\nports: [{ port: 8080 }]\n---\n\
                   service: shop/ratings\nports: [{ port: 8080 }]\n---\n";
    vec![
        ("M3001", partial(), vec![
            short("route: [\n"),
            "a: 1\n  b: 2\n".into(),
            "service: shop/reviews\nroute:\n- timeout: *none\n".into(),
        ]),
        ("M3002", partial(), vec![
            rule("backendRefs:\n- name: reviews-v1\n  wieght: 90"),
            short("backends: {}\naccess: { mode: Enforce, alow: [] }\n"),
            short("access: { mode: Enforce, allow: [{ frm: web, from: web }] }\n"),
            "servcie: shop/reviews\n".into(),
        ]),
        ("M3003", partial(), vec![
            rule("timeouts: { request: 1s }\ntimeouts: { request: 2s }"),
            short("route:\n- backends: { a: 1, b: 2, a: 3 }\n"),
            short("route:\n- backends: { a: 1 }\n  backendRefs: [{ name: b }]\n"),
        ]),
        ("M3004", partial(), vec![
            rule("backendRefs: reviews"),
            rule("retry: { attempts: many }"),
            short("selector: { version: 1.10 }\nsubsetOf: all\n"),
            short("traffic: { outbound: { throttle: { k: fast } } }\nroute:\n- mirror: reviews-v2\n"),
        ]),
        ("M3005", partial(), vec![
            short("route:\n- timeout: 2\n"),
            rule("timeouts: { request: 1.5s }"),
            rule("timeouts: { request: soon }"),
        ]),
        ("M3006", partial(), vec![
            "kind: HTTPRoute\napiVersion: gateway.networking.k8s.io/v1\n".into(),
            rule("backendRefs: [{ weight: 1 }]"),
            rule("filters: [{ type: URLRewrite }]"),
            short("backend:\n  loadBalancing: { algorithm: RingHash }\n  healthCheck: { interval: 5s }\n"),
            short("traffic:\n  inbound:\n    rateLimits: [{ by: [{ identity: true }] }]\n"),
            short("route:\n- fault: { maxActive: 5, expires: 2027-01-01 }\n"),
            short("route:\n- session: { cookieConfig: { lifetimeType: Permanent } }\n"),
            "a: 1\n".into(),
        ]),
        ("M3007", partial(), vec![
            "apiVersion: v1\nkind: HttpRoute\nmetadata: { name: a }\n".into(),
            "apiVersion: gateway.networking.k8s.io/v2\nkind: HTTPRoute\nmetadata: { name: a }\n".into(),
        ]),
        ("M3008", partial(), vec![
            rule("retry: { codes: [200] }"),
            rule("backendRefs: [{ name: a, weight: 2000000 }]"),
            rule("matches: [{ method: get }, { path: { type: Exact, value: reviews } }]"),
            rule("matches: [{ path: { type: Prefix, value: / } }]"),
            short("backend:\n  outlierDetection: { failurePercent: 120 }\n  retryBudget: { interval: 2m }\n"),
            short("endpoints: { static: [{ address: localhost }], registered: {} }\n"),
            short("backend:\n  loadBalancing: { choices: 1, maglevTableSize: 65536, minRingSize: 9, maxRingSize: 8 }\n  \
                   breaker: { halfOpenCalls: 0 }\n  connection: { keepaliveInterval: 5s }\n"),
            short("backend:\n  loadBalancing: { apertureAbove: 50, subsetSize: 20, orca: { period: 50ms } }\n  \
                   hedging: { delay: 5ms, percentile: 99 }\n"),
            short("traffic:\n  inbound:\n    rateLimits: [{ by: [{ identity: true, path: true }], requests: 0 }]\n    \
                   concurrency: { min: 50, max: 10, smoothing: 1.5 }\n  outbound: { throttle: { k: 1 } }\n"),
            short("route:\n- fault: { delay: { duration: 1s, percent: 100.5 }, expires: soon }\n"),
            short("route:\n- backends: { a: 1 }\n  respond: { status: 99 }\n"),
            short("route:\n- mirror: { a: 101 }\n  session: { type: Header, cookieConfig: {} }\n"),
            short("transport: { exceptions: [{ source: 10.0.0.0/40, expires: 2027-01-01 }, { expires: later }] }\n"),
        ]),
        ("M3009", whole(), vec![
            format!("{defined}{}", rule("backendRefs: [{ name: ratngs }, { name: web }]")),
            format!("{defined}{}", rule("backendRefs: [{ name: ratings, port: 80 }]")),
            format!("{defined}service: shop/rating\nbackend: {{ connectTimeout: 1s }}\n"),
            "service: shop/v1\nsubsetOf: reviews\nselector: { version: v1 }\n".into(),
            format!("{defined}service: shop/reviews\nroute:\n- mirror: {{ ratngs: 10 }}\n").replacen("service: shop/reviews\nports: [{ port: 8080 }]\n---\n", "", 1),
            rule("filters:\n- type: ExtensionRef\n  extensionRef: { group: policy.mesh, kind: Falt, name: slow }")
                + "---\nservice: shop/reviews\n",
            rule("filters:\n- type: ExtensionRef\n  extensionRef: { group: policy.mesh, kind: Fault, name: slwo }")
                + "---\napiVersion: policy.mesh/v1alpha1\nkind: Fault\nmetadata: { name: slow, namespace: shop }\n\
                   spec: { abort: { status: 503, percent: 0.1 }, expires: 2027-01-01 }\n",
        ]),
        ("M3010", partial(), vec![
            rule("backendRefs: [{ name: a, weight: 0 }, { name: b, weight: 0 }]"),
        ]),
        ("M3011", partial(), vec![
            rule("timeouts: { request: 1s, backendRequest: 500ms }\nretry: { attempts: 2 }"),
            rule("timeouts: { request: 1s, backendRequest: 2s }"),
            rule("timeouts: { backendRequest: 10s }\nretry: { attempts: 1 }"),
        ]),
        ("M3012", partial(), vec![
            rule("matches: [{ path: { value: /a } }]\n- matches: [{ path: { value: /a/ } }]").replace("\n    - matches", "\n  - matches"),
        ]),
        ("M3013", partial(), vec![
            format!("{}---\n{}", rule("name: one"), rule("name: two").replace("name: reviews, namespace", "name: more, namespace")),
        ]),
        ("M3014", partial(), vec![
            rule("matches: [{ method: POST }]\nretry: { codes: [503] }"),
            rule("retry: { codes: [503], nonIdempotent: Allow }"),
            rule("matches: [{ method: POST }]")
                + "---\napiVersion: policy.mesh/v1alpha1\nkind: BackendPolicy\nmetadata: { name: hedge, namespace: shop }\n\
                   spec:\n  targetRefs: [{ kind: HTTPRoute, name: reviews }]\n  hedging: {}\n",
            short("backend: { hedging: { idempotent: true } }\n"),
        ]),
        ("M3015", partial(), vec![short("backend: { outlierDetection: { maxEjectedPercent: 100 } }\n")]),
        ("M3016", partial(), vec![short("backend: { outlierDetection: { consecutiveErrors: 2 } }\n")]),
        ("M3017", whole(), vec![
            "apiVersion: policy.mesh/v1alpha1\nkind: BackendPolicy\nmetadata: { name: a, namespace: empty }\n\
             spec: { targetRefs: [{ kind: Namespace }], connectTimeout: 1s }\n".into(),
            short("ports: [{ port: 8080 }]\nbackend: {}\n"),
            short("ports: [{ port: 8080 }]\nsubsetFallback: AnyEndpoint\nbackend: { loadBalancing: { hashOn: [{ source: true }] } }\n"),
            short("ports: [{ port: 8080 }]\nroute:\n- backends: { reviews: 1 }\n  sticky: { header: x-user }\n"),
        ]),
        ("M3018", partial(), vec![
            format!(
                "{}---\napiVersion: policy.mesh/v1alpha1\nkind: BackendPolicy\n\
                 metadata: {{ name: other, namespace: shop }}\nspec:\n  \
                 targetRefs: [{{ kind: Service, name: reviews }}]\n  connectTimeout: 2s\n",
                short("backend: { connectTimeout: 1s }\n")
            ),
        ]),
        ("M3019", partial(), vec![short("access:\n  mode: Enforce\n  allow:\n  - methods: [GET]\n")]),
        ("M3020", partial(), vec![
            rule("matches: [{ path: { type: RegularExpression, value: \"/(a\" } }]"),
        ]),
        ("M3021", partial(), vec![
            format!("{}---\n{}", rule("name: one"), rule("name: two")),
            short("traffic: { inbound: { rateLimits: [{ name: all, requests: 5 }, { name: all, requests: 6 }] } }\n"),
        ]),
        ("M3022", partial(), vec![
            "service: shop/Reviews\n".into(),
            rule("name: x").replace("name: reviews, namespace", "name: a_b, namespace"),
            rule("matches: [{ headers: [{ name: \"a b\", value: c }] }]"),
            short("endpoints: { dns: { host: -a-, port: 80 } }\n"),
            short("route:\n- backends: { a: 1, b: 1 }\n  sticky: [{ header: x user }, { cookie: { name: a;b } }]\n"),
        ]),
        ("M3023", partial(), vec![
            format!("a: {}1{}\n", "[".repeat(limits::DEPTH + 1), "]".repeat(limits::DEPTH + 1)),
        ]),
        ("M3024", partial(), vec![short("route:\n- fault: { abort: { status: 503, percent: 10 } }\n")]),
    ]
}

#[test]
fn every_code_is_shown_with_its_place_and_its_fix() {
    for (code, options, texts) in cases() {
        let mut out = String::new();
        for text in texts {
            let source = Source::new("policies/reviews.yaml", text.as_str());
            let checked = check(&[source], &options);
            let all = checked.errors.iter().chain(checked.warnings.iter());
            assert!(
                all.into_iter().any(|e| e.code.to_string() == code),
                "{code} is not among the problems of\n{text}\n{}",
                checked.rendered
            );
            writeln!(out, "{text}\n{}", checked.rendered).unwrap();
        }
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(code, out);
        });
    }
}

#[test]
fn every_code_of_the_policy_has_a_rendering() {
    let shown: Vec<&str> = cases().iter().map(|(code, _, _)| *code).collect();
    let codes = registry().iter().map(|info| info.code.to_string());
    let policy: Vec<String> = codes
        .filter(|c| c.starts_with("M30") && c != "M3000")
        .collect();
    assert_eq!(policy, shown);
}

#[test]
fn the_size_of_a_text_and_what_aliases_make_of_it_are_bounded() {
    let long = "#".repeat(limits::TEXT_BYTES + 1);
    let bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned()
        + &(b'b'..=b'j')
            .map(|n| {
                let (n, before) = (n as char, (n - 1) as char);
                format!("{n}: &{n} [{}]\n", vec![format!("*{before}"); 9].join(", "))
            })
            .collect::<String>();
    for text in [long, bomb] {
        let checked = check(&[Source::new("big.yaml", text)], &Options::partial());
        assert!(checked.errors.has("M3023"), "{}", checked.rendered);
    }
}

#[test]
fn all_errors_of_a_text_come_at_once_in_its_order() {
    let text = "service: shop/reviews\nroute:\n- timeout: 2\n  retry: { attempts: x, codez: [] }\n\
                ---\nkind: Servce\n---\nservice: shop/ratings\nacces: {}\nroute:\n- timeout: 1s\n  attemptTimeout: 2s\n";
    let checked = check(&[Source::new("a.yaml", text)], &Options::partial());
    let found: Vec<String> = checked
        .errors
        .iter()
        .map(|e| format!("{} {}", e.code, e.at.as_ref().unwrap().line))
        .collect();
    assert_eq!(
        found,
        [
            "M3005 3", "M3004 4", "M3002 4", "M3006 6", "M3007 6", "M3002 9", "M3011 11"
        ]
    );
    assert!(checked.snapshot.is_none());
}

#[test]
fn an_error_names_resource_and_field_when_there_is_no_text() {
    let checked = super::checked(
        "service: shop/reviews\nroute:\n- timeout: 1s\n",
        &Options::partial(),
    );
    let mut resource = (*checked.resources[0]).clone();
    resource.set_provenance(Default::default());
    if let mesh_core::policy::Resource::HttpRoute(route) = &mut resource {
        route.spec.rules[0].retry = Some(mesh_core::policy::spec::Retry {
            codes: vec![99],
            ..Default::default()
        });
    }
    let errors =
        mesh_core::policy::validate::validate(&[resource.into()], &Options::partial(), None)
            .unwrap_err();
    assert_eq!(
        errors.to_string(),
        "HTTPRoute shop/reviews spec.rules[0].retry.codes[0]: 99 is not in the range 400 to 599 [M3008]"
    );
    assert_eq!(
        errors.render(&[]),
        "error[M3008]: 99 is not in the range 400 to 599\n  --> HTTPRoute shop/reviews: spec.rules[0].retry.codes[0]\n"
    );
    let json = serde_json::to_value(&errors).unwrap();
    assert_eq!(json[0]["code"], "M3008");
    assert_eq!(json[0]["path"], "spec.rules[0].retry.codes[0]");
}
