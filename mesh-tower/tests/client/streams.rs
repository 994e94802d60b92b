//! Answers that take long: what limits them, and what does not.

use std::time::Duration;

use http_body_util::BodyExt;
use mesh_core::error::MeshError;
use mesh_tower::testkit::{Reply, TestNet};
use tokio::time::Instant;

use crate::support::{call, edge, get, grpc};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_silent_answer_is_given_up_after_five_minutes_and_counted() {
    for grpc_call in [false, true] {
        let net = TestNet::new();
        let one = net.endpoint("10.0.0.1:80");
        one.reply(Reply::endless(200));
        let mesh = net
            .mesh("web")
            .endpoints("reviews", [one.addr()])
            .build()
            .unwrap();
        let request = if grpc_call { grpc("/a.B/C") } else { get("/") };
        let response = call(&mesh.client("reviews"), request).await.unwrap();
        let mut body = response.into_body();
        assert!(body.frame().await.unwrap().is_ok());
        let began = Instant::now();
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(began.elapsed().as_secs(), 300);
        let error = error.downcast_ref::<MeshError>().unwrap();
        assert_eq!(error.code().to_string(), "M2009");
        assert!(error.to_string().contains("silent for 300s"), "{error}");
        assert!(body.frame().await.is_none(), "nothing follows");
        drop(body);

        let edge = edge(&mesh);
        assert_eq!((edge.calls, edge.failures), (1, 1));
        assert_eq!(edge.codes["M2009"], 1);
        let text = mesh.metrics_text();
        assert!(text.contains("error_type=\"attempt_timeout\"} 1"), "{text}");
        let report = mesh.report();
        assert_eq!(report.endpoints[0].in_flight, 0);
        assert_eq!(
            report.endpoints[0].failures, 0,
            "no verdict on the endpoint"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_policy_of_the_backend_says_how_long_an_answer_may_be_silent() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.reply(Reply::endless(200));
    let policy = |limit: &str| {
        let text = format!("service: shop/reviews\nbackend: {{ streamIdleTimeout: {limit} }}\n");
        net.mesh("web").policy_text(&text)
    };
    for (limit, gives_up_after) in [("30s", Some(30)), ("1h", Some(3600)), ("0s", None)] {
        let mesh = policy(limit)
            .endpoints("reviews.shop", [one.addr()])
            .build()
            .unwrap();
        let response = call(&mesh.client("reviews.shop"), get("/")).await.unwrap();
        let mut body = response.into_body();
        assert!(body.frame().await.unwrap().is_ok());
        let began = Instant::now();
        let next = tokio::time::timeout(1000 * MINUTE, body.frame()).await;
        assert_eq!(next.is_ok(), gives_up_after.is_some(), "{limit}");
        if let Some(after) = gives_up_after {
            assert_eq!(began.elapsed().as_secs(), after, "{limit}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_speaks_now_and_then_outlives_every_limit() {
    for grpc_call in [false, true] {
        let net = TestNet::new();
        let one = net.endpoint("10.0.0.1:80");
        one.reply(Reply::ticking(200, 4 * MINUTE));
        let mesh = net
            .mesh("web")
            .policy_text("service: shop/reviews\nroute: [{ timeout: 2s }]\n")
            .endpoints("reviews.shop", [one.addr()])
            .build()
            .unwrap();
        let request = if grpc_call { grpc("/a.B/C") } else { get("/") };
        let response = call(&mesh.client("reviews.shop"), request).await.unwrap();
        let mut body = response.into_body();
        let began = Instant::now();
        for _ in 0..15 {
            assert!(body.frame().await.unwrap().is_ok());
        }
        assert!(began.elapsed() >= 50 * MINUTE);
        assert_eq!(mesh.report().endpoints[0].in_flight, 1, "a stream is load");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_its_time_is_no_silence_of_the_peer() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.reply(Reply::ticking(200, 4 * MINUTE));
    let mesh = net
        .mesh("web")
        .endpoints("reviews", [one.addr()])
        .build()
        .unwrap();
    let response = call(&mesh.client("reviews"), get("/")).await.unwrap();
    let mut body = response.into_body();
    assert!(body.frame().await.unwrap().is_ok());
    tokio::time::sleep(60 * MINUTE).await;
    for _ in 0..3 {
        assert!(body.frame().await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn the_call_deadline_covers_a_stream_until_its_head() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.reply(Reply::hang());
    let mesh = net
        .mesh("web")
        .endpoints("reviews", [one.addr()])
        .build()
        .unwrap();
    let began = Instant::now();
    let answer = call(&mesh.client("reviews"), grpc("/a.B/C")).await.unwrap();
    assert_eq!(answer.headers()["mesh-reason"], "M2008");
    assert_eq!(began.elapsed().as_secs(), 15);
}
