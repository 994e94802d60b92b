//! How requests and answers follow each other.

use std::time::Duration;

use crate::common::app::Recorder;
use crate::common::pair::{Pair, Setup};
use crate::common::wire::Wire;
use crate::each_way;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn requests_that_are_sent_ahead_are_answered_in_order() {
    for (app, way) in each_way().await {
        let mut client = Wire::connect(way.front()).await;
        let all: String = (0..10)
            .map(|n| {
                format!("POST /{n} HTTP/1.1\r\nHost: app.shop\r\nContent-Length: 3\r\n\r\n{n:03}")
            })
            .collect();
        client.send(all).await;
        let mut served = app.accept().await;
        for n in 0..10 {
            let seen = served.request().await;
            assert_eq!(
                seen.head.line,
                format!("POST /{n} HTTP/1.1"),
                "{}",
                way.name()
            );
            assert_eq!(seen.text(), format!("{n:03}"));
            served
                .send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{n}"))
                .await;
        }
        for n in 0..10 {
            assert_eq!(
                client.answer().await.text(),
                n.to_string(),
                "{}",
                way.name()
            );
        }
    }
}

#[tokio::test]
async fn the_application_decides_whether_a_body_is_sent() {
    for (app, way) in each_way().await {
        let name = way.name();
        let asks = "PUT /big HTTP/1.1\r\nHost: app.shop\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
        let mut client = Wire::connect(way.front()).await;
        client.send(asks).await;
        let mut served = app.accept().await;
        let head = served.head().await;
        assert_eq!(head.get("expect"), Some("100-continue"), "{name}");
        // Nobody has asked for the body yet, so nobody has told the client to send it.
        assert!(
            client.is_quiet_for(Duration::from_millis(300)).await,
            "{name}: a 100 too early"
        );
        served.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        let head = client.head().await;
        assert_eq!(head.status(), 100, "{name}");
        client.send("hello").await;
        assert_eq!(served.exact(5).await, b"hello", "{name}");
        served.send(OK).await;
        assert_eq!(client.answer().await.text(), "ok", "{name}");

        // And it may refuse without a byte of it.
        for refused in ["417 Expectation Failed", "413 Content Too Large"] {
            let mut client = Wire::connect(way.front()).await;
            client.send(asks).await;
            served = app.next(served).await;
            assert_eq!(served.head().await.line, "PUT /big HTTP/1.1", "{name}");
            let answer = format!("HTTP/1.1 {refused}\r\nContent-Length: 2\r\n\r\nno");
            served.send(&answer).await;
            let got = client.answer().await;
            assert_eq!(got.head.status().to_string(), refused[..3], "{name}");
            assert_eq!(got.text(), "no", "{name}");
            drop(client);
            // The body that never came is none of the next request's.
            let mut client = Wire::connect(way.front()).await;
            client
                .send("GET /after HTTP/1.1\r\nHost: app.shop\r\n\r\n")
                .await;
            served = app.next(served).await;
            assert_eq!(
                served.request().await.head.line,
                "GET /after HTTP/1.1",
                "{name}"
            );
            served.send(OK).await;
            assert_eq!(client.answer().await.text(), "ok", "{name}");
        }
    }
}

#[tokio::test]
async fn between_two_shims_requests_share_few_connections() {
    let app = Recorder::new(|_| crate::common::app::ok()).await;
    let pair = Pair::start(app.addr, Setup::default()).await;
    let mut clients = Vec::new();
    for _ in 0..32 {
        clients.push(Wire::connect(pair.front()).await);
    }
    for client in &mut clients {
        client
            .send("GET /many HTTP/1.1\r\nHost: app.shop\r\n\r\n")
            .await;
    }
    for client in &mut clients {
        assert_eq!(client.answer().await.text(), "ok");
    }
    assert_eq!(app.take().len(), 32);
    let metrics = pair.app.metrics().await;
    let open: Vec<_> = metrics
        .lines()
        .filter(|line| {
            line.starts_with("mesh_connections{") && line.contains("direction=\"inbound\"")
        })
        .collect();
    println!("32 requests at once: {open:?}");
    let count: f64 = open
        .iter()
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    assert!((1.0..=2.0).contains(&count), "{open:?}");
}
