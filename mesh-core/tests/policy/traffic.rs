//! Traffic policies, and what rules refer to: from the text to the model.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use mesh_core::context::Criticality;
use mesh_core::name::ServiceName;
use mesh_core::policy::model::*;
use mesh_core::policy::{Options, Snapshot, Source, check};

use super::{checked, snapshot};

fn name(text: &str) -> ServiceName {
    ServiceName::parse(text, "shop").expect("a name")
}

fn route(snapshot: &Snapshot, n: usize) -> Arc<Route> {
    let service = snapshot.outbound().service(&name("reviews")).expect("it");
    service.all_routes()[n].1.clone()
}

#[test]
fn traffic_is_merged_field_by_field_from_mesh_to_service() {
    let text = "\
apiVersion: policy.mesh/v1alpha1
kind: TrafficPolicy
metadata: { name: all, namespace: shop }
spec:
  targetRefs: [{ kind: Mesh }]
  inbound:
    timeout: 10s
    concurrency: { algorithm: Vegas, max: 10 }
    rateLimits: [{ name: all, requests: 1000 }]
  outbound: { throttle: { k: 1.5 } }
---
service: shop/reviews
ports: [{ port: 80 }]
traffic:
  inbound:
    queue: { size: 7 }
    rateLimits:
    - { name: each, by: [{ identity: true }, { header: x-tenant }], requests: 10, per: 1m, overrides: [{ from: batch, requests: 90 }] }
    - { name: total, requests: 500, burst: 50, matches: [{ methods: [POST] }] }
    criticality: { default: SheddablePlus, rules: [{ from: [batch], level: Sheddable }] }
  outbound: { throttle: { enabled: false } }
---
service: shop/reviews-v1
subsetOf: reviews
selector: { version: v1 }
---
service: shop/ratings
ports: [{ port: 80 }]
";
    let snapshot = snapshot(text, &Options::partial());
    let part = snapshot.inbound().traffic_for(&name("reviews-v1"));
    assert_eq!(part.queue().size(), 7, "a subset has what its whole has");
    let traffic = snapshot.inbound().traffic_for(&name("reviews"));
    assert_eq!(
        traffic.timeout(),
        Some(Duration::from_secs(10)),
        "of the mesh"
    );
    assert_eq!(
        traffic.concurrency().algorithm(),
        ConcurrencyAlgorithm::Vegas
    );
    let limit = traffic.concurrency();
    assert_eq!(
        (limit.min(), limit.initial(), limit.max()),
        (10, 10, 10),
        "defaults move along"
    );
    assert_eq!(traffic.queue().size(), 7);
    let [total, each] = &**traffic.rate_limits() else {
        panic!("{traffic:?}")
    };
    assert!(
        total.is_total() && !each.is_total(),
        "those of the whole service go first"
    );
    assert_eq!(
        (total.requests(), total.burst(), total.per()),
        (500, 50, Duration::from_secs(1))
    );
    assert_eq!(total.matches()[0].methods(), [Method::POST]);
    assert_eq!(
        each.keys(),
        [
            RateKey::Identity,
            RateKey::Header("x-tenant".parse().unwrap())
        ]
    );
    let batch = [Peer::Service(name("batch"))];
    assert_eq!(each.overrides()[0].from(), batch);
    assert_eq!(
        (each.overrides()[0].requests(), each.overrides()[0].burst()),
        (90, 90)
    );
    let criticality = traffic.criticality();
    assert_eq!(criticality.default_level(), Criticality::SheddablePlus);
    assert_eq!(criticality.rules()[0].level(), Criticality::Sheddable);
    assert_eq!(criticality.rules()[0].from(), batch);

    let other = snapshot.inbound().traffic_for(&name("ratings"));
    assert_eq!(other.rate_limits().len(), 1);
    assert_eq!(*other.queue(), QueuePolicy::default());
    for backend in snapshot.outbound().backends() {
        let throttle = backend.throttle().map(ThrottlePolicy::k_milli);
        let expected = (backend.service() == &name("ratings")).then_some(1500);
        assert_eq!(throttle, expected, "{}", backend.key());
    }
    let nobody = snapshot.inbound().traffic_for(&name("unknown"));
    assert_eq!(nobody.timeout(), Some(Duration::from_secs(10)));
    assert_eq!(
        *InboundTraffic::default().concurrency(),
        ConcurrencyPolicy::default()
    );
}

#[test]
fn traffic_that_did_not_change_is_the_same_arc() {
    let text = |timeout| {
        format!(
            "service: shop/reviews\ntraffic: {{ inbound: {{ timeout: {timeout} }} }}\n---\nservice: shop/ratings\ntraffic: {{ inbound: {{ timeout: 1s }} }}\n"
        )
    };
    let load = |text: &str| check(&[Source::new("a", text)], &Options::partial()).resources;
    let (first, second) = (load(&text("1s")), load(&text("2s")));
    let options = Options::partial();
    let (first, _) = mesh_core::policy::validate::validate(&first, &options, None).unwrap();
    let next = mesh_core::policy::validate::validate(&second, &options, Some(&first));
    let (next, _) = next.unwrap();
    let same = |service: &str| {
        let of = |s: &Snapshot| s.inbound().traffic_for(&name(service));
        Arc::ptr_eq(&of(&first), &of(&next))
    };
    assert!(same("ratings") && same("other") && !same("reviews"));
}

#[test]
fn a_rule_has_what_it_refers_to() {
    let text = "\
service: shop/reviews:8080
route:
- backends: { v1: 90, v2: 10 }
  mirror: { copy: 5 }
  fault: { delay: { duration: 2s, percent: 0.5 }, abort: { grpc: UNAVAILABLE }, header: { name: x-test }, seed: 7, expires: 1970-01-01 }
  sticky: { header: x-user }
  session: { sessionName: sid, absoluteTimeout: 1h, cookieConfig: { lifetimeType: Permanent } }
  trailers: { remove: [x-debug] }
- matches: [{ path: { value: /closed } }]
  respond: { status: 503, body: closed }
---
service: shop/v1
---
service: shop/v2
---
service: shop/copy
endpoints: { static: [{ address: \"10.0.0.1:80\" }] }
";
    let snapshot = snapshot(text, &Options::partial());
    let first = route(&snapshot, 0);
    let mirror = first.mirrors()[0];
    assert_eq!(
        (mirror.percent_milli(), mirror.max_body()),
        (5000, 64 << 10)
    );
    let copy = snapshot
        .outbound()
        .backend(mirror.backend())
        .expect("its backend");
    assert_eq!(
        copy.service(),
        &name("copy"),
        "positions are the final ones"
    );
    let fault = first.fault().expect("a fault");
    assert_eq!(&**fault.name(), "shop/reviews-0");
    let delay = fault.delay().expect("a delay");
    assert_eq!(
        (delay.duration(), delay.percent_milli()),
        (Duration::from_secs(2), 500)
    );
    let abort = fault.abort().expect("an error");
    assert_eq!(
        (abort.status(), abort.percent_milli()),
        (AbortStatus::Grpc(14), 100_000)
    );
    assert_eq!(fault.header().expect("a gate").0, "x-test");
    assert_eq!((fault.seed(), fault.max_active()), (Some(7), 100));
    assert!(
        fault.is_over(std::time::SystemTime::now()),
        "the day is over"
    );
    let user = HashOn::new(HashKey::Header("x-user".parse().unwrap()));
    assert_eq!(first.sticky().map(|s| s.to_vec()), Some(vec![user]));
    let session = first.session().expect("a session");
    assert_eq!(
        (&**session.name(), session.kind()),
        ("sid", SessionType::Cookie)
    );
    assert_eq!(session.lifetime(), SessionLifetime::Permanent);
    assert_eq!(first.trailers().expect("an edit").remove()[0], "x-debug");

    let direct = route(&snapshot, 1).direct().cloned().expect("an answer");
    assert_eq!(direct.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(&**direct.body(), "closed");
    assert_eq!(direct.content_type().unwrap(), "text/plain; charset=utf-8");
}

#[test]
fn a_subset_may_fall_back_and_an_endpoint_has_a_priority() {
    let text = "\
service: shop/reviews
endpoints: { static: [{ address: \"10.0.0.1:80\", zone: eu/a, priority: 1 }] }
---
service: shop/v1
subsetOf: reviews
selector: { version: v1 }
subsetFallback: AnyEndpoint
";
    let snapshot = snapshot(text, &Options::partial());
    for backend in snapshot.outbound().backends() {
        let any = backend.subset_fallback() == SubsetFallback::AnyEndpoint;
        assert_eq!(any, backend.service() == &name("v1"));
        let Discovery::Static(endpoints) = backend.discovery() else {
            panic!("{backend:?}")
        };
        assert_eq!(endpoints[0].priority, 1);
    }
}

#[test]
fn what_is_wrong_with_a_rule_is_said_at_its_place() {
    for (rule, expected) in [
        (
            "fault: missing",
            "M3009 spec.rules[0].filters[0].extensionRef.name",
        ),
        ("respond: { status: 204, body: a }", "M3008 spec.body"),
        (
            "fault: { abort: { status: 503, grpc: INTERNAL }, expires: 2030-01-01 }",
            "M3008 spec.abort",
        ),
        (
            "fault: { abort: {}, expires: 2030-01-01 }",
            "M3006 spec.abort",
        ),
        (
            "session: { idleTimeout: 2h, absoluteTimeout: 1h }",
            "M3008 spec.rules[0].sessionPersistence.idleTimeout",
        ),
        (
            "session: { sessionName: a b }",
            "M3022 spec.rules[0].sessionPersistence.sessionName",
        ),
        (
            "backendRefs: [{ name: reviews, filters: [{ type: ExtensionRef, extensionRef: { group: policy.mesh, kind: Fault, name: f } }] }]",
            "M3008 spec.rules[0].backendRefs[0].filters[0].extensionRef",
        ),
        (
            "filters: [{ type: ExtensionRef, extensionRef: { group: example.com, kind: Fault, name: f } }]",
            "M3009 spec.rules[0].filters[0].extensionRef.kind",
        ),
    ] {
        let text = format!(
            "service: shop/reviews\nports: [{{ port: 80 }}]\nroute:\n- {rule}\n---\napiVersion: policy.mesh/v1alpha1\nkind: Fault\n\
             metadata: {{ name: f, namespace: shop }}\nspec: {{ abort: {{ status: 503 }}, expires: 2030-01-01 }}\n"
        );
        let checked = checked(&text, &Options::whole());
        let found: Vec<String> = checked
            .errors
            .iter()
            .map(|e| format!("{} {}", e.code, e.path))
            .collect();
        assert_eq!(found, [expected], "{rule}\n{}", checked.rendered);
    }
}
