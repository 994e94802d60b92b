//! The table of metrics against what a process says.

use std::time::Duration;

use mesh_core::policy::Layer;
use mesh_core::telemetry::names::{self, METRICS};
use mesh_tower::testkit::{Reply, TestNet};

use crate::support::{call, get, post, status};

/// Said by a server, by the control server, or only with an identity or a policy for it (tested
/// there): not by a client alone.
const ELSEWHERE: &[&str] = &[
    names::TUNNELS,
    names::TCP_CONNECTIONS,
    names::TCP_OPEN,
    names::TCP_BYTES,
    names::TCP_DURATION,
    names::FALLBACKS,
    names::COALESCED,
    names::SERVER_REQUESTS,
    names::SERVER_DURATION,
    names::SERVER_IN_FLIGHT,
    names::SERVER_BYPASSED,
    names::SERVER_SHED,
    names::SERVER_RATE_LIMITED,
    names::SERVER_LIMIT,
    names::SERVER_WAITING,
    names::DENIED,
    names::TLS_HANDSHAKES,
    names::INGRESS_REFUSED,
    names::PLAINTEXT_PEERS,
    names::CERTIFICATE_EXPIRY,
    names::EJECTIONS_SHADOW,
    names::BREAKER_STATE,
    names::BREAKER_OPENED,
    names::BREAKER_REFUSED,
    names::THROTTLED,
    names::HEDGES,
    names::HEALTH_CHECKS,
    names::HEALTH_CHECK_DURATION,
    names::CONTROL_CLIENTS,
    names::CONTROL_INSTANCES,
    names::CONTROL_FINDINGS,
    // Tests of their own.
    names::FAULTS,
    names::MIRRORED,
    names::MIRROR_DROPPED,
    names::HEALTH_CHECKS,
    names::HEALTH_CHECK_DURATION,
];

const POLICY: &str = "service: shop/reviews\n\
    route: [{ retry: { attempts: 1, codes: [503] } }]\n\
    backend: { loadBalancing: { algorithm: RoundRobin }, healthCheck: { tcp: {}, interval: 1h } }\n";

#[tokio::test(start_paused = true)]
async fn every_metric_of_a_client_is_said() {
    let net = TestNet::new();
    let all = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"].map(|addr| net.endpoint(addr));
    let mesh = net
        .mesh("web")
        .policy_text(POLICY)
        .endpoints("reviews.shop", all.each_ref().map(|one| one.addr()))
        .build()
        .unwrap();
    let client = mesh.client("reviews.shop");
    mesh.feed().set_connected(true);

    // A retry that helps, and one that may not be made.
    all[0].once(Reply::new(503, ""));
    assert_eq!(status(&client, get("/")).await.unwrap(), 200);
    all.iter().for_each(|one| one.answer(503, ""));
    status(&client, post("/", "x")).await.unwrap();
    all.iter().for_each(|one| one.answer(200, ""));
    // One endpoint that fails alone, then all together, then none that is there.
    all[0].answer(500, "");
    for _ in 0..60 {
        status(&client, get("/")).await.unwrap();
    }
    all.iter().for_each(|one| one.answer(500, ""));
    for _ in 0..60 {
        status(&client, get("/")).await.unwrap();
    }
    all.iter().for_each(|one| one.kill());
    for _ in 0..20 {
        let _ = call(&client, get("/")).await;
    }

    let text = mesh.metrics_text();
    let said = |name: &str| {
        text.lines()
            .any(|line| !line.starts_with('#') && line.starts_with(name))
    };
    let silent: Vec<_> = METRICS
        .iter()
        .map(|metric| metric.name)
        .filter(|name| !ELSEWHERE.contains(name) && !said(name))
        .collect();
    assert!(silent.is_empty(), "nothing says {silent:?}:\n{text}");
}

#[tokio::test(start_paused = true)]
async fn gauges_say_how_things_are_now() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.reply(Reply::endless(200));
    let mesh = net
        .mesh("web")
        .policy_text(POLICY)
        .endpoints("reviews.shop", [one.addr()])
        .build()
        .unwrap();
    let client = mesh.client("reviews.shop");
    let expect = |lines: &[&str]| {
        let text = mesh.metrics_text();
        for line in lines {
            assert!(text.lines().any(|one| one == *line), "{line}:\n{text}");
        }
    };
    let open = call(&client, get("/")).await.unwrap();
    let waiting = tokio::spawn({
        let client = mesh.client("nowhere.shop");
        mesh.feed().endpoints(
            &mesh_core::name::ServiceName::new("shop", "nowhere").unwrap(),
            Some(Vec::new()),
        );
        async move { call(&client, get("/")).await }
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    expect(&[
        "mesh_calls_in_flight{service=\"shop/reviews\"} 1",
        "mesh_connections{direction=\"outbound\",service=\"shop/reviews\",state=\"active\"} 1",
        "mesh_endpoint_waiting{service=\"shop/nowhere\"} 1",
        "mesh_policy_updates_total{layer=\"code\",result=\"applied\"} 1",
        "mesh_control_connected 0",
        "mesh_drain_state 0",
    ]);
    drop(open);
    waiting.abort();
    let _ = waiting.await;
    mesh.feed().set_connected(true);
    let bad = "service: shop/other\nroute: [{ backends: { other: 0 } }]\n";
    let bad = mesh_core::policy::text::load(&[mesh_core::policy::text::Source::new("bad", bad)]);
    mesh.store().apply(Layer::File, bad.resources).unwrap_err();
    mesh.drain().start();
    expect(&[
        "mesh_calls_in_flight{service=\"shop/reviews\"} 0",
        "mesh_endpoint_waiting{service=\"shop/nowhere\"} 0",
        "mesh_policy_updates_total{layer=\"file\",result=\"refused\"} 1",
        "mesh_control_connected 1",
        "mesh_drain_state 1",
    ]);
}
