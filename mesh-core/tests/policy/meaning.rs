//! What a valid policy means: precedence, defaults, routes, backends, access, transport.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, Uri};
use mesh_core::identity::SpiffeId;
use mesh_core::name::ServiceName;
use mesh_core::policy::model::{
    AccessMode, AppProtocol, Backend, Discovery, MtlsMode, Route, Service, TlsMode, TlsVersion,
};
use mesh_core::policy::{Options, Snapshot, defaults};

use super::snapshot;

fn name(text: &str) -> ServiceName {
    ServiceName::parse(text, "shop").unwrap()
}

fn service<'s>(snapshot: &'s Snapshot, text: &str) -> &'s Service {
    let found = snapshot.outbound().service(&name(text));
    found.unwrap_or_else(|| panic!("no service {text}"))
}

fn backend<'s>(snapshot: &'s Snapshot, text: &str) -> &'s Backend {
    let ix = service(snapshot, text).default_backend();
    snapshot.outbound().backend(ix).unwrap()
}

fn find<'s>(
    snapshot: &'s Snapshot,
    text: &str,
    port: Option<u16>,
    path: &str,
) -> Option<&'s Route> {
    let uri: Uri = path.parse().unwrap();
    let table = service(snapshot, text).routes(port);
    table
        .find(&Method::GET, &uri, &HeaderMap::new())
        .map(|r| &**r)
}

fn policy(name: &str, namespace: &str, target: &str, fields: &str) -> String {
    format!(
        "---\napiVersion: policy.mesh/v1alpha1\nkind: BackendPolicy\n\
         metadata: {{ name: {name}, namespace: {namespace} }}\nspec:\n  targetRefs: [{target}]\n{fields}"
    )
}

#[test]
fn the_example_of_the_documentation() {
    let snapshot = snapshot(
        include_str!("../fixtures/ours-short.yaml"),
        &Options::partial(),
    );
    let route = find(&snapshot, "reviews", Some(8080), "/7").unwrap();
    assert_eq!(route.name().as_ref(), "reviews/0");
    assert_eq!(
        route.origin().to_string(),
        "HTTPRoute shop/reviews rule 0 (mesh.yaml:4)"
    );
    assert_eq!(route.timeouts().request(), Some(Duration::from_secs(2)));
    assert_eq!(route.timeouts().attempt(), Some(Duration::from_millis(500)));
    let idle = backend(&snapshot, "reviews").stream_idle();
    assert_eq!(idle, Some(defaults::STREAM_IDLE));
    let retry = route.retry().unwrap();
    assert_eq!((retry.attempts(), retry.codes()), (2, &[503][..]));
    let targets = route.split().targets().iter();
    let targets: Vec<(String, u32)> = targets
        .map(|t| {
            let backend = snapshot.outbound().backend(t.backend()).unwrap();
            (backend.service().to_string(), t.weight())
        })
        .collect();
    assert_eq!(
        targets,
        [
            ("shop/reviews-v1".into(), 90),
            ("shop/reviews-v2".into(), 10)
        ]
    );

    let reviews = backend(&snapshot, "reviews");
    assert_eq!(reviews.ejection().interval(), Duration::from_secs(30));
    assert_eq!(
        reviews.ejection().minimum_calls(),
        defaults::EJECT_MINIMUM_CALLS
    );
    assert_eq!(*reviews.discovery(), Discovery::Registered(name("reviews")));

    let access = snapshot.inbound().access_for(&name("reviews"));
    assert_eq!(access.mode(), AccessMode::Enforce);
    let web = SpiffeId::parse("spiffe://mesh.local/ns/shop/sa/web").unwrap();
    let batch = SpiffeId::parse("spiffe://mesh.local/ns/shop/sa/batch").unwrap();
    let peer = &access.rules()[0].from()[0];
    assert!(peer.is_match(&web) && !peer.is_match(&batch));
    assert_eq!(
        snapshot.inbound().access_for(&name("web")).mode(),
        AccessMode::Open
    );

    // A caller that names no port means the only one that there is.
    assert_eq!(
        find(&snapshot, "reviews", None, "/7")
            .unwrap()
            .name()
            .as_ref(),
        "reviews/0"
    );
}

#[test]
fn the_most_specific_policy_wins_per_top_level_field() {
    let text = "service: shop/reviews:80\nroute:\n- name: canary\n---\nservice: shop/ratings\nroute: [{}]\n".to_owned()
        + &policy("all", "mesh", "{ kind: Mesh }", "  connectTimeout: 2s\n  ceilings: { maxRequests: 1, maxConnections: 1 }\n")
        + &policy("shop", "shop", "{ kind: Namespace }", "  ceilings: { maxRequests: 2 }\n  retryBudget: { percent: 10 }\n")
        + &policy("reviews", "shop", "{ kind: Service, name: reviews }", "  retryBudget: { minRetriesPerSecond: 1 }\n")
        + &policy("route", "shop", "{ kind: HTTPRoute, name: reviews }", "  connectTimeout: 3s\n");
    let snapshot = snapshot(&text, &Options::whole());

    let ratings = backend(&snapshot, "ratings");
    assert_eq!(ratings.connect_timeout(), Duration::from_secs(2));
    assert_eq!(ratings.ceilings().requests(), 2);
    assert_eq!(
        ratings.ceilings().connections(),
        defaults::MAX_CONNECTIONS,
        "no deep merge"
    );
    assert_eq!(ratings.budget().percent(), 10);

    let reviews = backend(&snapshot, "reviews");
    assert_eq!(reviews.budget().min_per_second(), 1);
    assert_eq!(
        reviews.budget().percent(),
        defaults::BUDGET_PERCENT,
        "no deep merge"
    );
    assert_eq!(reviews.connect_timeout(), Duration::from_secs(2));

    let route = find(&snapshot, "reviews", Some(80), "/").unwrap();
    let of_route = snapshot
        .outbound()
        .backend(route.split().targets()[0].backend())
        .unwrap();
    assert_eq!(of_route.connect_timeout(), Duration::from_secs(3));
    assert_eq!(of_route.budget().min_per_second(), 1);
    assert_ne!(of_route.key(), reviews.key(), "a backend of its own");
}

#[test]
fn the_silence_of_a_stream_is_limited_by_its_backend() {
    let idle = |policy: &str| {
        let text = format!("service: shop/reviews\nports: [{{ port: 80 }}]\n{policy}");
        backend(&snapshot(&text, &Options::whole()), "reviews").stream_idle()
    };
    assert_eq!(idle(""), Some(defaults::STREAM_IDLE));
    let hour = idle("backend: { streamIdleTimeout: 1h }\n");
    assert_eq!(hour, Some(Duration::from_secs(3600)));
    assert_eq!(idle("backend: { streamIdleTimeout: 0s }\n"), None);
}

#[test]
fn a_service_without_any_policy_has_the_defaults() {
    let snapshot = snapshot(
        "service: shop/reviews\nports: [{ port: 80 }, { port: 81, appProtocol: grpc }]\n",
        &Options::whole(),
    );
    let route = find(&snapshot, "reviews", Some(81), "/").unwrap();
    assert_eq!(route.timeouts().request(), Some(defaults::REQUEST_TIMEOUT));
    assert!(route.retry().is_none());
    let grpc = snapshot
        .outbound()
        .backend(route.split().targets()[0].backend())
        .unwrap();
    assert_eq!(
        (grpc.port(), grpc.target_port(), grpc.app_protocol()),
        (Some(81), Some(81), AppProtocol::Grpc)
    );
    let first = backend(&snapshot, "reviews");
    assert_eq!(
        (first.port(), first.app_protocol()),
        (Some(80), AppProtocol::Http)
    );
    assert_eq!(first.key().name().as_ref(), "shop/reviews:80");
    assert_eq!(first.ejection().consecutive_errors(), 5);
    assert_eq!(first.balance().panic_percent(), 50);
}

#[test]
fn a_key_holds_no_tunable() {
    let plain = snapshot(
        "service: shop/reviews\nports: [{ port: 80 }]\n",
        &Options::whole(),
    );
    let tuned = snapshot(
        "service: shop/reviews\nports: [{ port: 80 }]\nbackend: { connectTimeout: 5s, ceilings: { maxRequests: 7 } }\n",
        &Options::whole(),
    );
    assert_eq!(
        backend(&plain, "reviews").key(),
        backend(&tuned, "reviews").key()
    );
    let grpc = snapshot(
        "service: shop/reviews\nports: [{ port: 80, appProtocol: grpc }]\n",
        &Options::whole(),
    );
    assert_ne!(
        backend(&plain, "reviews").key(),
        backend(&grpc, "reviews").key()
    );
}

#[test]
fn subsets_share_endpoints_and_ports_of_the_whole() {
    let text = "service: shop/reviews\nports: [{ port: 80, appProtocol: grpc }]\nendpoints: { static: [{ address: 10.0.0.1:80, labels: { version: v1 } }, { address: 10.0.0.2:80 }] }\n\
                ---\nservice: shop/reviews-v1\nsubsetOf: reviews\nselector: { version: v1 }\n";
    let snapshot = snapshot(text, &Options::whole());
    let subset = backend(&snapshot, "reviews-v1");
    assert_eq!(
        (subset.port(), subset.app_protocol()),
        (Some(80), AppProtocol::Grpc)
    );
    assert_eq!(
        subset.discovery(),
        backend(&snapshot, "reviews").discovery()
    );
    let Discovery::Static(list) = subset.discovery() else {
        panic!()
    };
    let chosen: Vec<_> = list
        .iter()
        .filter(|e| subset.selects(&e.labels))
        .map(|e| e.addr.to_string())
        .collect();
    assert_eq!(chosen, ["10.0.0.1:80"]);
}

#[test]
fn discovery_and_tls_of_each_kind_of_endpoints() {
    let text = "service: shop/a\nendpoints: { dns: { host: a.example.com, port: 80 } }\n---\n\
                service: shop/b\nendpoints: { dns: { host: _http._tcp.b.example.com, srv: true } }\n---\n\
                service: shop/c\nendpoints: { external: { host: api.example.com } }\n---\n\
                service: shop/d\nendpoints: { external: { host: d.example.com, port: 80, tls: false } }\n---\n\
                service: shop/e\nendpoints: { registered: {} }\ntransport: { mtls: Disabled }\n";
    let snapshot = snapshot(text, &Options::whole());
    let show = |name| {
        let backend = backend(&snapshot, name);
        (format!("{:?}", backend.discovery()), backend.tls())
    };
    assert_eq!(
        show("a"),
        (
            "Dns { host: \"a.example.com\", port: Some(80), srv: false }".into(),
            TlsMode::Mesh
        )
    );
    assert_eq!(
        show("b"),
        (
            "Dns { host: \"_http._tcp.b.example.com\", port: None, srv: true }".into(),
            TlsMode::Mesh
        )
    );
    assert_eq!(
        show("c"),
        (
            "External { host: \"api.example.com\", port: 443 }".into(),
            TlsMode::System
        )
    );
    assert_eq!(
        show("d"),
        (
            "External { host: \"d.example.com\", port: 80 }".into(),
            TlsMode::Plaintext
        )
    );
    assert_eq!(show("e"), ("Registered(shop/e)".into(), TlsMode::Plaintext));
    let outbound = snapshot.outbound();
    let found = outbound.resolve_host("API.example.com.", None).unwrap();
    assert_eq!(found.name(), &name("c"));
}

#[test]
fn hosts_are_found_in_every_spelling() {
    let options = Options::whole().with_default_namespace("shop");
    let snapshot = snapshot("service: shop/reviews\nports: [{ port: 8080 }]\n", &options);
    let outbound = snapshot.outbound();
    for host in [
        "reviews.shop",
        "Reviews.Shop",
        "reviews",
        "reviews.shop.svc",
        "reviews.shop.svc.cluster.local.",
    ] {
        assert!(outbound.resolve_host(host, Some(8080)).is_some(), "{host}");
    }
    assert!(outbound.resolve_host("reviews.shop", None).is_some());
    assert!(outbound.resolve_host("reviews.shop", Some(80)).is_none());
    assert!(outbound.resolve_host("reviews.default", None).is_none());
}

#[test]
fn a_rule_that_names_no_backend_is_about_the_service_itself() {
    let snapshot = snapshot(
        "service: shop/reviews:80\nroute:\n- timeout: 0s\n",
        &Options::whole(),
    );
    let route = find(&snapshot, "reviews", Some(80), "/").unwrap();
    assert_eq!(route.timeouts().request(), None, "0s is no limit");
    assert_eq!(
        route.split().targets()[0].backend(),
        service(&snapshot, "reviews").default_backend()
    );
    // Another port is not touched by the route.
    assert_eq!(
        find(&snapshot, "reviews", Some(81), "/")
            .unwrap()
            .name()
            .as_ref(),
        "reviews/0"
    );
}

#[test]
fn routes_of_one_port_leave_the_others_alone() {
    let text = "service: shop/reviews:80\nports: [{ port: 80 }, { port: 81 }]\nroute:\n\
                - matches: [{ path: { value: /a } }]\n  timeout: 1s\n";
    let snapshot = snapshot(text, &Options::whole());
    assert_eq!(
        find(&snapshot, "reviews", Some(80), "/a/b")
            .unwrap()
            .name()
            .as_ref(),
        "reviews/0"
    );
    assert!(
        find(&snapshot, "reviews", Some(80), "/b").is_none(),
        "a route applies, and no rule matches"
    );
    assert_eq!(
        find(&snapshot, "reviews", Some(81), "/b")
            .unwrap()
            .name()
            .as_ref(),
        "reviews/default"
    );
    assert!(
        find(&snapshot, "reviews", None, "/b").is_none(),
        "no port means the first"
    );
}

#[test]
fn callers_refine_the_routes_of_others_for_themselves_only() {
    let text = "service: shop/reviews\nroute: [{ timeout: 1s }]\n---\n\
                apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: ours, namespace: front }\n\
                spec: { parentRefs: [{ name: reviews, namespace: shop }], rules: [{ name: ours, timeouts: { request: 9s } }] }\n";
    let timeout = |options: &Options| {
        let snapshot = snapshot(text, options);
        find(&snapshot, "reviews", None, "/")
            .unwrap()
            .timeouts()
            .request()
            .unwrap()
            .as_secs()
    };
    assert_eq!(timeout(&Options::whole()), 1);
    let local = |text| ServiceName::parse(text, "default").unwrap();
    assert_eq!(
        timeout(&Options::whole().with_local_service(local("front/web"))),
        9
    );
    assert_eq!(
        timeout(&Options::whole().with_local_service(local("shop/web"))),
        1
    );
}

#[test]
fn access_of_the_most_specific_policy_holds_as_a_whole() {
    let access = |name: &str, target: &str, mode: &str| {
        format!(
            "---\napiVersion: policy.mesh/v1alpha1\nkind: AccessPolicy\nmetadata: {{ name: {name}, namespace: shop }}\n\
             spec: {{ targetRefs: [{target}], mode: {mode}, allow: [] }}\n"
        )
    };
    let text = "service: shop/reviews\nports: [{ port: 80 }]\n".to_owned()
        + &access("mesh", "{ kind: Mesh }", "Audit")
        + &access("reviews", "{ kind: Service, name: reviews }", "Enforce");
    let snapshot = snapshot(&text, &Options::whole());
    let mode = |text| snapshot.inbound().access_for(&name(text)).mode();
    assert_eq!(mode("reviews"), AccessMode::Enforce);
    assert_eq!(mode("ratings"), AccessMode::Audit);
    assert_eq!(mode("other/x"), AccessMode::Audit);
}

#[test]
fn transport_is_merged_per_field_and_port() {
    let transport = |name: &str, target: &str, fields: &str| {
        format!(
            "---\napiVersion: policy.mesh/v1alpha1\nkind: TransportPolicy\nmetadata: {{ name: {name}, namespace: shop }}\n\
             spec: {{ targetRefs: [{target}], {fields} }}\n"
        )
    };
    let text = "service: shop/reviews\nports: [{ port: 80 }, { port: 81 }]\n".to_owned()
        + &transport(
            "mesh",
            "{ kind: Mesh }",
            "mtls: Permissive, minTlsVersion: 1.2, trustDomains: [mesh.local]",
        )
        + &transport(
            "reviews",
            "{ kind: Service, name: reviews }",
            "mtls: Strict, exceptions: [{ source: 10.0.0.0/8, expires: 2027-01-01 }]",
        )
        + &transport(
            "port",
            "{ kind: Service, name: reviews, port: 81 }",
            "mtls: Disabled",
        );
    let snapshot = snapshot(&text, &Options::whole());
    let reviews = snapshot.inbound().transport_for(&name("reviews"));
    assert_eq!(reviews.mtls(Some(80)), MtlsMode::Strict);
    assert_eq!(reviews.mtls(Some(81)), MtlsMode::Disabled);
    assert_eq!(reviews.min_version(), TlsVersion::Tls12);
    assert_eq!(reviews.trust_domains().len(), 1);
    let source = "10.1.1.1".parse().unwrap();
    assert!(reviews.accepts_plaintext(source, 80, SystemTime::UNIX_EPOCH));
    let web = snapshot.inbound().transport_for(&name("web"));
    assert_eq!(web.mtls(None), MtlsMode::Permissive);

    let none = super::snapshot(
        "service: shop/reviews\nports: [{ port: 80 }]\n",
        &Options::whole(),
    );
    let default = none.inbound().transport_for(&name("reviews"));
    assert_eq!(default.mtls(None), MtlsMode::Strict);
    assert!(!default.is_explicit());
}

#[test]
fn a_subset_is_treated_as_its_service_unless_its_own_policy_sets_the_field() {
    let text = "service: shop/reviews\nports: [{ port: 80 }, { port: 81 }]\n\
        transport: { minTlsVersion: 1.3 }\n---\n\
        service: shop/v1\nsubsetOf: reviews\nselector: { version: v1 }\n---\n\
        service: shop/v2\nsubsetOf: reviews\nselector: { version: v2 }\n---\n\
        service: other/v3\nsubsetOf: shop/reviews\nselector: { version: v3 }\n"
        .to_owned()
        + &policy(
            "space",
            "shop",
            "{ kind: Namespace }",
            "  connectTimeout: 100ms\n  retryBudget: { percent: 30 }\n",
        )
        + &policy(
            "reviews",
            "shop",
            "{ kind: Service, name: reviews }",
            "  connectTimeout: 200ms\n  outlierDetection: { consecutiveErrors: 7, interval: 3s }\n",
        )
        + &policy(
            "v2",
            "shop",
            "{ kind: Service, name: v2 }",
            "  outlierDetection: { consecutiveErrors: 9 }\n",
        );
    let snapshot = snapshot(&text, &Options::whole());
    let [v1, v2] = ["v1", "v2"].map(|name| backend(&snapshot, name));
    let seen = |backend: &Backend| {
        let ejection = backend.ejection();
        let times = (backend.connect_timeout().as_millis(), ejection.interval());
        (times.0, ejection.consecutive_errors(), times.1.as_secs())
    };
    assert_eq!(seen(v1), (200, 7, 3));
    // A field is taken as a whole: what the subset leaves out of it is the default.
    assert_eq!(seen(v2), (200, 9, 10));
    assert_eq!(v1.budget().percent(), 30);
    assert_eq!(seen(backend(&snapshot, "other/v3")), (200, 7, 3));

    let origin = |backend: &Backend, field: &str| {
        let origin = backend.origin(field);
        origin.map_or("default".to_owned(), ToString::to_string)
    };
    for (field, of_v1, of_v2) in [
        ("retryBudget", "shop/space", "shop/space"),
        ("connectTimeout", "shop/reviews", "shop/reviews"),
        ("outlierDetection", "shop/reviews", "shop/v2"),
    ] {
        assert_eq!(origin(v1, field), format!("BackendPolicy {of_v1}"));
        assert_eq!(origin(v2, field), format!("BackendPolicy {of_v2}"));
    }
    assert_eq!(origin(v1, "ceilings"), "default");

    let v1 = snapshot.inbound().transport_for(&name("v1"));
    assert_eq!(v1.min_version(), TlsVersion::Tls13);
    let origin = v1.origin("minTlsVersion").unwrap().to_string();
    assert_eq!(origin, "TransportPolicy shop/reviews");
}

#[test]
fn calls_to_a_subset_are_in_plaintext_where_those_to_its_service_are() {
    let text = "service: shop/reviews\nports: [{ port: 80 }, { port: 81 }]\n---\n\
        service: shop/v1\nsubsetOf: reviews\nselector: { version: v1 }\n---\n\
        service: shop/v2\nsubsetOf: reviews\nselector: { version: v2 }\ntransport: { mtls: Strict }\n---\n\
        apiVersion: policy.mesh/v1alpha1\nkind: TransportPolicy\nmetadata: { name: port, namespace: shop }\n\
        spec: { targetRefs: [{ kind: Service, name: reviews, port: 81 }], mtls: Disabled }\n";
    let snapshot = snapshot(text, &Options::whole());
    let tls = |text: &str, port: u16| {
        let mut all = snapshot.outbound().backends().iter();
        let found = all.find(|b| *b.service() == name(text) && b.port() == Some(port));
        found.unwrap().tls()
    };
    for service in ["reviews", "v1"] {
        assert_eq!(tls(service, 80), TlsMode::Mesh, "{service}");
        assert_eq!(tls(service, 81), TlsMode::Plaintext, "{service}");
    }
    assert_eq!(tls("v2", 81), TlsMode::Mesh, "it says so itself");
}

#[test]
fn a_service_nobody_defines_registers_itself_on_a_client_and_is_an_error_elsewhere() {
    let text = "service: shop/reviews\nroute: [{ backends: { ratings: 1 } }]\n";
    let partial = snapshot(text, &Options::partial());
    assert!(service(&partial, "ratings").is_implicit());
    assert!(super::checked(text, &Options::whole()).errors.has("M3009"));
    let known = Options::whole().with_known_services([name("ratings")]);
    assert!(super::checked(text, &known).errors.is_empty());
}
