//! Answers without an end, and ends that come early.

use std::time::{Duration, Instant};

use crate::common::pair::Setup;
use crate::common::wire::Wire;
use crate::{each_way, shims_with, warm};

const EVENTS: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

#[tokio::test]
async fn each_event_arrives_at_once_and_the_clients_end_reaches_the_application() {
    for (app, way) in each_way().await {
        let name = way.name();
        let mut client = Wire::connect(way.front()).await;
        client
            .send("GET /events HTTP/1.1\r\nHost: app.shop\r\nAccept: text/event-stream\r\n\r\n")
            .await;
        let mut served = app.accept().await;
        served.request().await;
        served.send(EVENTS).await;
        let head = client.head().await;
        assert_eq!(head.status(), 200, "{name}");
        let mut slowest = Duration::ZERO;
        for n in 0..20 {
            let event = format!("data: {n}\n\n");
            let began = Instant::now();
            served
                .send(format!("{:x}\r\n{event}\r\n", event.len()))
                .await;
            // Nothing follows it yet: it may not wait for more.
            let got = client.chunk().await.unwrap();
            slowest = slowest.max(began.elapsed());
            assert_eq!(String::from_utf8(got).unwrap(), event, "{name}");
        }
        println!("{name}: slowest of 20 events {slowest:?}");
        assert!(slowest < Duration::from_millis(500), "{name}: {slowest:?}");
        drop(client);
        let began = Instant::now();
        let (_, _) = served.until_end().await;
        println!(
            "{name}: the application was told after {:?}",
            began.elapsed()
        );
        assert!(began.elapsed() < Duration::from_secs(5), "{name}");
    }
}

#[tokio::test]
async fn a_timeout_of_the_request_ends_with_its_head() {
    let policy = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: app, namespace: shop }\n\
                  spec: { parentRefs: [{ kind: Service, name: app, group: \"\" }], rules: [{ timeouts: { request: 300ms } }] }\n";
    let setup = Setup {
        policy: policy.to_owned(),
        ..Setup::default()
    };
    for (app, way) in shims_with(setup).await {
        let name = way.name();
        warm(&app, way.front()).await;
        let mut client = Wire::connect(way.front()).await;
        client
            .send("GET /long HTTP/1.1\r\nHost: app.shop\r\n\r\n")
            .await;
        let mut served = app.accept().await;
        served.request().await;
        served.send(EVENTS).await;
        client.head().await;
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(900) {
            served.send("2\r\nhi\r\n").await;
            assert_eq!(client.chunk().await.unwrap(), b"hi", "{name}");
            // The pace: three pieces within the limit, and as many beyond it as show that it is over.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        served.send("0\r\n\r\n").await;
        assert_eq!(client.chunk().await.unwrap(), b"", "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_whole_at_the_client_either() {
    for (app, way) in each_way().await {
        let name = way.name();
        for answered in [
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nabc",
        ] {
            let mut client = Wire::connect(way.front()).await;
            client
                .send("GET /cut HTTP/1.1\r\nHost: app.shop\r\n\r\n")
                .await;
            let mut served = app.accept().await;
            served.request().await;
            served.send(answered).await;
            drop(served);
            let got = client.try_answer().await;
            let got = got.map(|got| (got.head.status(), got.whole));
            println!("{name}: {answered:?}: {got:?}");
            assert!(
                matches!(got, None | Some((200, false)) | Some((502, true))),
                "{name}: {got:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_request_that_breaks_off_is_not_whole_at_the_application_either() {
    for (app, way) in each_way().await {
        let name = way.name();
        for sent in [
            "POST /cut HTTP/1.1\r\nHost: app.shop\r\nContent-Length: 10\r\n\r\nabc",
            "POST /cut HTTP/1.1\r\nHost: app.shop\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        ] {
            let mut client = Wire::connect(way.front()).await;
            client.send(sent).await;
            let mut served = app.accept().await;
            let head = served.head().await;
            drop(client);
            let seen = served.rest(head, crate::common::wire::Kind::Request).await;
            assert!(!seen.whole, "{name}: {seen:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_has_said_all_still_gets_its_answer() {
    for (app, way) in each_way().await {
        let mut client = Wire::connect(way.front()).await;
        client
            .send("GET /fin HTTP/1.1\r\nHost: app.shop\r\n\r\n")
            .await;
        client.shut().await;
        let mut served = app.accept().await;
        served.request().await;
        // What the end of the sending side must not do has time to happen: a shim that takes it for the
        // client's going away drops the request at once. Nothing depends on it passing.
        assert!(served.is_quiet_for(Duration::from_millis(100)).await);
        served
            .send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
            .await;
        assert_eq!(client.answer().await.text(), "late", "{}", way.name());
        assert_eq!(client.until_end().await.0, b"", "{}", way.name());
    }
}
