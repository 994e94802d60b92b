//! Copies of calls: never seen by the caller, never in what decides about the call.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use mesh_tower::testkit::{Reply, TestEndpoint, TestNet};
use mesh_tower::{Mesh, MeshBody, MeshClient};

use crate::support::{call, edge, get, grpc, post, rule, services, status, under};

const ALL: &str =
    "filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: shadow } } }]";

fn mirrored(mirror: &str) -> (TestNet, TestEndpoint, TestEndpoint, Mesh, MeshClient) {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    let shadow = net.endpoint("10.0.9.1:80");
    one.answer(200, "hello");
    let text = services(&[
        ("shop/reviews", &["10.0.0.1:80"]),
        ("shop/shadow", &["10.0.9.1:80"]),
    ]);
    let (mesh, client) = under(&net, &format!("{text}{}", rule(mirror)));
    (net, one, shadow, mesh, client)
}

/// Lets the tasks of copies run.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

fn metric(mesh: &Mesh, line: &str) -> bool {
    mesh.metrics_text().lines().any(|found| found == line)
}

#[tokio::test(start_paused = true)]
async fn a_copy_has_the_calls_head_and_body_and_says_what_it_is() {
    let (_net, one, shadow, mesh, client) = mirrored(ALL);
    let mut request = post("/order?n=7", "a body");
    request
        .headers_mut()
        .insert("x-user", "anna".parse().unwrap());
    assert_eq!(status(&client, request).await.unwrap(), 200);
    settle().await;
    let (first, copy) = (&one.seen()[0], &shadow.seen()[0]);
    assert_eq!(copy.uri.to_string(), "/order?n=7");
    assert_eq!(copy.body, "a body");
    assert_eq!(copy.header("x-user"), "anna");
    assert_eq!(copy.header("host"), first.header("host"));
    assert_eq!(copy.header("x-mesh-mirror"), "1");
    assert_eq!(first.header("x-mesh-mirror"), "");
    assert_eq!(copy.header("x-mesh-criticality"), "sheddable");
    // One trace, and a span of its own.
    assert_eq!(
        copy.header("traceparent")[3..35],
        first.header("traceparent")[3..35]
    );
    assert_ne!(copy.header("traceparent"), first.header("traceparent"));
    assert!(
        metric(
            &mesh,
            "mesh_mirrored_total{service=\"shop/shadow\",class=\"success\"} 1"
        ),
        "{}",
        mesh.metrics_text()
    );
}

#[tokio::test(start_paused = true)]
async fn a_mirror_that_hangs_or_fails_is_seen_by_nobody() {
    let (_net, one, shadow, mesh, client) =
        mirrored(&format!("timeouts: {{ request: 2s }}, {ALL}"));
    for reply in [Reply::hang(), Reply::new(503, "no"), Reply::reset()] {
        shadow.reply(reply);
        let began = tokio::time::Instant::now();
        assert_eq!(status(&client, get("/")).await.unwrap(), 200);
        assert_eq!(began.elapsed(), Duration::ZERO);
        settle().await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    shadow.kill();
    assert_eq!(status(&client, get("/")).await.unwrap(), 200);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let edge = edge(&mesh);
    assert_eq!((edge.calls, edge.failures, edge.retries), (4, 0, 0));
    assert_eq!(one.calls(), 4);
    // One attempt each: nothing is tried again for a copy.
    assert_eq!(shadow.calls(), 3);
    for endpoint in mesh.report().endpoints {
        assert_eq!(endpoint.reason, None, "{endpoint:?}");
    }
    let text = mesh.metrics_text();
    let of_mirrors: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("mesh_mirror"))
        .collect();
    assert!(
        metric(
            &mesh,
            "mesh_mirrored_total{service=\"shop/shadow\",class=\"timeout\"} 1"
        ),
        "{of_mirrors:?}"
    );
    assert!(!text.contains("mesh_ejections_total{"));
}

#[tokio::test(start_paused = true)]
async fn a_copy_goes_on_when_the_caller_has_gone() {
    let (_net, one, shadow, _mesh, client) = mirrored(ALL);
    one.reply(Reply::hang());
    let call = call(&client, post("/", "body"));
    assert!(
        tokio::time::timeout(Duration::from_millis(100), call)
            .await
            .is_err()
    );
    settle().await;
    assert_eq!(shadow.seen()[0].body, "body");
}

#[tokio::test(start_paused = true)]
async fn bodies_up_to_the_cap_are_copied_and_longer_ones_counted() {
    let (_net, one, shadow, mesh, client) = mirrored(ALL);
    let stream = |sizes: &[usize]| {
        let frames: Vec<_> = sizes
            .iter()
            .map(|size| {
                Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from(vec![
                    7;
                    *size
                ])))
            })
            .collect();
        let body = StreamBody::new(futures_util::stream::iter(frames));
        http::Request::post("/").body(MeshBody::new(body)).unwrap()
    };
    status(&client, stream(&[40_000, 25_536])).await.unwrap();
    settle().await;
    assert_eq!(shadow.seen()[0].body.len(), 65_536);
    status(&client, stream(&[40_000, 25_537])).await.unwrap();
    status(&client, post("/", vec![7; 65_537])).await.unwrap();
    settle().await;
    assert_eq!((one.calls(), shadow.calls()), (3, 1));
    assert_eq!(one.seen()[1].body.len(), 65_537);
    let line = "mesh_mirror_dropped_total{service=\"shop/shadow\",reason=\"too_large\"} 2";
    assert!(metric(&mesh, line), "{}", mesh.metrics_text());
}

#[tokio::test(start_paused = true)]
async fn a_part_of_the_calls_is_copied_to_each_mirror() {
    let twenty = "filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: shadow }, percent: 20 } }, \
                  { type: RequestMirror, requestMirror: { backendRef: { name: shadow }, fraction: { numerator: 1, denominator: 2 } } }]";
    let (_net, _one, shadow, _mesh, client) = mirrored(twenty);
    for _ in 0..2_000 {
        status(&client, get("/")).await.unwrap();
    }
    settle().await;
    // 400 and 1,000 expected; five standard deviations of each.
    assert!(shadow.calls().abs_diff(1_400) < 200, "{}", shadow.calls());
}

#[tokio::test(start_paused = true)]
async fn copies_beyond_the_room_of_the_process_are_dropped_first() {
    let (_net, one, shadow, mesh, client) = mirrored(ALL);
    shadow.reply(Reply::hang());
    for _ in 0..200 {
        assert_eq!(status(&client, get("/")).await.unwrap(), 200);
        tokio::task::yield_now().await;
    }
    settle().await;
    assert_eq!(one.calls(), 200);
    assert_eq!(shadow.calls(), 128);
    let line = "mesh_mirror_dropped_total{service=\"shop/shadow\",reason=\"crowded\"} 72";
    assert!(metric(&mesh, line), "{}", mesh.metrics_text());
}

#[tokio::test(start_paused = true)]
async fn a_grpc_call_is_copied_too() {
    let (_net, one, shadow, mesh, client) = mirrored(ALL);
    one.reply(Reply::grpc(0));
    shadow.reply(Reply::grpc(14));
    let response = call(&client, grpc("/shop.Reviews/Get")).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    settle().await;
    assert_eq!(shadow.seen()[0].uri.path(), "/shop.Reviews/Get");
    let line = "mesh_mirrored_total{service=\"shop/shadow\",class=\"unavailable\"} 1";
    assert!(metric(&mesh, line), "{}", mesh.metrics_text());
}
