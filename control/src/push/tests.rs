use mesh_core::policy::{self, Options, Source};
use mesh_grpc::engine::server::Config;

use super::*;
use crate::registry::{Holder, Instance};

const POLICY: &str = r#"
service: shop/reviews:8080
route:
- backends: { reviews-v1: 90, reviews-v2: 10 }
  timeout: 2s
access:
  mode: Enforce
  allow: [{ from: web }]
---
apiVersion: v1
kind: Service
metadata: { name: reviews, namespace: shop }
spec: { ports: [{ port: 8080 }] }
---
apiVersion: policy.mesh/v1alpha1
kind: Service
metadata: { name: reviews-v1, namespace: shop }
spec: { subsetOf: reviews, selector: { version: v1 }, ports: [{ port: 8080 }] }
---
apiVersion: policy.mesh/v1alpha1
kind: Service
metadata: { name: reviews-v2, namespace: shop }
spec: { subsetOf: reviews, selector: { version: v2 }, ports: [{ port: 8080 }] }
---
apiVersion: policy.mesh/v1alpha1
kind: Service
metadata: { name: ratings, namespace: shop }
spec: { endpoints: { static: [{ address: "127.0.0.1:1" }] } }
---
apiVersion: policy.mesh/v1alpha1
kind: BackendPolicy
metadata: { name: v1, namespace: shop }
spec: { targetRefs: [{ kind: Service, name: reviews-v1 }], connectTimeout: 1s }
---
apiVersion: policy.mesh/v1alpha1
kind: BackendPolicy
metadata: { name: ratings, namespace: shop }
spec: { targetRefs: [{ kind: Service, name: ratings }], connectTimeout: 1s }
---
apiVersion: policy.mesh/v1alpha1
kind: TransportPolicy
metadata: { name: all, namespace: shop }
spec: { targetRefs: [{ kind: Mesh }], mtls: Strict }
"#;

fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

fn current(text: &str) -> Current {
    let checked = policy::check(&[Source::new("p.yaml", text)], &Options::whole());
    let snapshot = checked
        .snapshot
        .unwrap_or_else(|| panic!("{}", checked.rendered));
    Current {
        revision: snapshot.revision().clone(),
        resources: checked.resources.into(),
        snapshot,
        warnings: 0,
    }
}

fn ids(resources: Vec<&Arc<Resource>>) -> Vec<String> {
    resources
        .into_iter()
        .map(|resource| resource.id().to_string())
        .collect()
}

#[test]
fn each_service_is_sent_what_concerns_it_and_no_more() {
    let current = current(POLICY);
    let index = Index::new(&current.resources);
    assert_eq!(
        ids(index.outbound(&name("shop/reviews"))),
        [
            "Service shop/reviews",
            "Service shop/reviews-v1",
            "Service shop/reviews-v2",
            "HTTPRoute shop/reviews",
            "BackendPolicy shop/v1",
            "TransportPolicy shop/all",
        ]
    );
    assert_eq!(
        ids(index.outbound(&name("shop/ratings"))),
        [
            "Service shop/ratings",
            "BackendPolicy shop/ratings",
            "TransportPolicy shop/all"
        ]
    );
    assert_eq!(
        ids(index.inbound(&name("shop/reviews"))),
        ["AccessPolicy shop/reviews", "TransportPolicy shop/all"]
    );
    assert_eq!(
        ids(index.inbound(&name("shop/web"))),
        ["TransportPolicy shop/all"]
    );
    // A subset needs its base: its endpoints are the base's.
    assert!(
        ids(index.outbound(&name("shop/reviews-v1"))).contains(&"Service shop/reviews".to_owned())
    );
}

fn engine() -> Engine {
    Engine::new(Config::default())
}

fn set(engine: &Engine, service: &str) -> Option<Vec<String>> {
    let bytes = engine.get(ENDPOINT_SET, service)?;
    let set = pb::EndpointSet::decode(bytes.clone()).unwrap();
    Some(
        set.endpoints
            .into_iter()
            .map(|endpoint| endpoint.addr)
            .collect(),
    )
}

fn instance(service: &str, port: u16, version: &str) -> Instance {
    Instance {
        service: name(service),
        addr: ([10, 0, 0, 1], port).into(),
        instance: port.to_string(),
        identity: "spiffe://mesh.local/ns/shop/sa/x".to_owned(),
        labels: BTreeMap::from([("version".to_owned(), version.to_owned())]),
        zone: String::new(),
        weight: 1,
        priority: 0,
    }
}

#[test]
fn endpoints_are_published_for_the_service_and_its_subsets() {
    let (mut publisher, mut engine, now) = (Publisher::default(), engine(), Instant::now());
    let mut registry = Registry::default();
    let current = current(POLICY);
    publisher.publish_all(&mut engine, &current, &registry, now);
    assert_eq!(set(&engine, "shop/reviews"), Some(Vec::new()));
    assert_eq!(
        set(&engine, "shop/ratings"),
        None,
        "static endpoints are in the policy"
    );

    registry
        .register(Holder(1), instance("shop/reviews", 1, "v1"), now)
        .unwrap();
    registry
        .register(Holder(1), instance("shop/reviews", 2, "v2"), now)
        .unwrap();
    publisher.publish_endpoints(&mut engine, &name("shop/reviews"), &current, &registry, now);
    assert_eq!(set(&engine, "shop/reviews").unwrap().len(), 2);
    assert_eq!(set(&engine, "shop/reviews-v1").unwrap(), ["10.0.0.1:1"]);
    assert_eq!(set(&engine, "shop/reviews-v2").unwrap(), ["10.0.0.1:2"]);
}

#[test]
fn a_registered_service_exists_without_policy_and_stays_known() {
    let (mut publisher, mut engine, now) = (Publisher::default(), engine(), Instant::now());
    let mut registry = Registry::default();
    let current = current(POLICY);
    publisher.publish_all(&mut engine, &current, &registry, now);
    assert!(engine.get(SERVICE_POLICY, "shop/new").is_none());
    registry
        .register(Holder(1), instance("shop/new", 1, "v1"), now)
        .unwrap();
    publisher.publish_endpoints(&mut engine, &name("shop/new"), &current, &registry, now);
    assert!(engine.get(SERVICE_POLICY, "shop/new").is_some());
    assert!(engine.get(INBOUND_POLICY, "shop/new").is_some());
    registry.deregister(Holder(1), None, None);
    publisher.publish_endpoints(&mut engine, &name("shop/new"), &current, &registry, now);
    assert_eq!(
        set(&engine, "shop/new"),
        Some(Vec::new()),
        "no endpoint, but a service"
    );
}

#[test]
fn a_change_touches_only_the_names_it_concerns() {
    let (mut publisher, mut engine, now) = (Publisher::default(), engine(), Instant::now());
    let registry = Registry::default();
    publisher.publish_all(&mut engine, &current(POLICY), &registry, now);
    let before: Vec<_> = ["shop/reviews", "shop/ratings"]
        .map(|service| engine.get(SERVICE_POLICY, service).cloned())
        .into();
    let changed = POLICY.replace("timeout: 2s", "timeout: 3s");
    publisher.publish_all(&mut engine, &current(&changed), &registry, now);
    assert_ne!(
        engine.get(SERVICE_POLICY, "shop/reviews").cloned(),
        before[0]
    );
    assert_eq!(
        engine.get(SERVICE_POLICY, "shop/ratings").cloned(),
        before[1]
    );
}

#[test]
fn a_caller_gets_what_its_routes_refer_to_and_each_side_its_traffic_policies() {
    let text = r#"
service: shop/web
ports: [{ port: 80 }]
route:
- mirror: { copy: 10 }
  fault: { delay: { duration: 1s }, expires: 2030-01-01 }
---
service: shop/copy
ports: [{ port: 80 }]
---
apiVersion: policy.mesh/v1alpha1
kind: Fault
metadata: { name: unused, namespace: shop }
spec: { abort: { status: 503 }, expires: 2030-01-01 }
---
apiVersion: policy.mesh/v1alpha1
kind: TrafficPolicy
metadata: { name: in, namespace: shop }
spec: { targetRefs: [{ kind: Service, name: web }], inbound: { timeout: 5s } }
---
apiVersion: policy.mesh/v1alpha1
kind: TrafficPolicy
metadata: { name: out, namespace: shop }
spec: { targetRefs: [{ kind: Service, name: web }], outbound: { throttle: {} } }
"#;
    let current = current(text);
    let index = Index::new(&current.resources);
    let ids = |found: Vec<&Arc<Resource>>| -> Vec<String> {
        found.iter().map(|r| r.id().to_string()).collect()
    };
    assert_eq!(
        ids(index.outbound(&name("shop/web"))),
        [
            "Service shop/copy",
            "Service shop/web",
            "HTTPRoute shop/web",
            "TrafficPolicy shop/out",
            "Fault shop/web-0",
        ]
    );
    assert_eq!(
        ids(index.inbound(&name("shop/web"))),
        ["TrafficPolicy shop/in"]
    );
}
