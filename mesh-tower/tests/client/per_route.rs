//! What a policy on a route gives the calls of that route alone, and hashes of other sources, through
//! the assembled client.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderValue;
use mesh_tower::testkit::{Reply, TestNet};

use crate::support::{call, code, get, services, status, under};

const MS: Duration = Duration::from_millis(1);

/// resilience4j's slow-call rate, in a breaker of one of two routes to one service.
#[tokio::test(start_paused = true)]
async fn resilience4j_slow_calls_open_the_breaker_of_their_route_and_leave_the_other_alone() {
    let net = TestNet::new();
    let endpoint = net.endpoint("10.0.0.1:80");
    endpoint.decide(|seen| {
        let slow = seen.uri.path().starts_with("/slow");
        Reply::new(200, "").after(if slow { 200 * MS } else { MS })
    });
    let text = services(&[("shop/reviews", &["10.0.0.1:80"])])
        + "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: slow, namespace: shop }
spec:
  parentRefs: [{ group: '', kind: Service, name: reviews }]
  rules:
  - matches: [{ path: { type: PathPrefix, value: /slow } }]
    backendRefs: [{ name: reviews, port: 80 }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: quick, namespace: shop }
spec:
  parentRefs: [{ group: '', kind: Service, name: reviews }]
  rules:
  - matches: [{ path: { type: PathPrefix, value: /quick } }]
    backendRefs: [{ name: reviews, port: 80 }]
---
apiVersion: policy.mesh/v1alpha1
kind: BackendPolicy
metadata: { name: slow, namespace: shop }
spec:
  targetRefs: [{ kind: HTTPRoute, name: slow }]
  breaker: { slowAfter: 100ms, slowPercent: 50, window: 10, minimumCalls: 10, openFor: 10s, halfOpenCalls: 2 }
";
    let (_mesh, client) = under(&net, &text);
    for n in 0..10 {
        // All of them succeed.
        assert_eq!(code(status(&client, get("/slow")).await), "200", "call {n}");
        assert_eq!(
            code(status(&client, get("/quick")).await),
            "200",
            "call {n}"
        );
    }
    for _ in 0..5 {
        assert_eq!(code(status(&client, get("/slow")).await), "M2004");
        assert_eq!(code(status(&client, get("/quick")).await), "200");
    }
    assert_eq!(endpoint.calls(), 25, "what was refused was not sent");

    // Half open: two calls that are quick again close it.
    tokio::time::sleep(Duration::from_secs(10)).await;
    endpoint.answer(200, "");
    for _ in 0..20 {
        assert_eq!(code(status(&client, get("/slow")).await), "200");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cookie_and_the_source_are_hashed_by_ring_and_by_maglev() {
    let addrs: Vec<String> = (1..=5).map(|n| format!("10.0.0.{n}:80")).collect();
    let addrs: Vec<&str> = addrs.iter().map(String::as_str).collect();
    for algorithm in ["RingHash", "Maglev"] {
        for hash in ["cookie: { name: sid, ttl: 1h }", "source: true"] {
            let net = TestNet::new();
            let all: Vec<_> = addrs.iter().map(|addr| net.endpoint(addr)).collect();
            for (at, endpoint) in all.iter().enumerate() {
                endpoint.answer(200, at.to_string());
            }
            let list: Vec<_> = addrs
                .iter()
                .map(|addr| format!("{{ address: '{addr}' }}"))
                .collect();
            let text = format!(
                "service: shop/reviews\nendpoints: {{ static: [{}] }}\nbackend: {{ loadBalancing: {{ algorithm: {algorithm}, hashOn: [{{ {hash} }}] }} }}\n",
                list.join(", ")
            );
            let (_mesh, client) = under(&net, &text);
            let mut reached: BTreeMap<String, Vec<bytes::Bytes>> = BTreeMap::new();
            for turn in 0..200 {
                let user = format!("sid=user-{}", turn % 40);
                let mut request = get("/");
                let value = HeaderValue::from_str(&user).unwrap();
                request.headers_mut().insert("cookie", value);
                let answer = call(&client, request).await.unwrap();
                let at = answer.into_body().collect_to_bytes(10).await.unwrap();
                reached.entry(user).or_default().push(at);
            }
            let used = all.iter().filter(|endpoint| endpoint.calls() > 0).count();
            for (user, at) in &reached {
                assert!(
                    at.iter().all(|one| one == &at[0]),
                    "{algorithm} {hash} {user}: {at:?}"
                );
            }
            // Each cookie has its place; a process has one for all its calls.
            let expected = if hash.starts_with("cookie") { 5 } else { 1 };
            assert_eq!(used, expected, "{algorithm} {hash}");
        }
    }
}
