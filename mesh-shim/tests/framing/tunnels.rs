//! WebSockets, CONNECT.

use std::time::Duration;

use crate::common::app::RawApp;
use crate::common::pair::{Pair, Setup};
use crate::common::wire::Wire;
use crate::{Way, each_way};

const ASKS: &str = "Host: app.shop\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
const GIVES: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: a\r\n\r\n";

async fn tunnel(app: &RawApp, front: std::net::SocketAddr, line: &str) -> (Wire, Wire) {
    let mut client = Wire::connect(front).await;
    client.send(format!("{line}\r\n{ASKS}")).await;
    let mut served = app.accept().await;
    let seen = served.head().await;
    assert_eq!(seen.get("upgrade"), Some("websocket"));
    assert!(
        seen.get("connection")
            .unwrap()
            .eq_ignore_ascii_case("upgrade")
    );
    served.send(GIVES).await;
    let got = client.head().await;
    assert_eq!(got.status(), 101, "{got:?}");
    assert_eq!(got.get("upgrade"), Some("websocket"));
    assert_eq!(got.get("sec-websocket-accept"), Some("a"));
    (client, served)
}

#[tokio::test]
async fn a_websocket_passes_and_its_halves_end_each_by_itself() {
    for (app, way) in each_way().await {
        let name = way.name();
        let (mut client, mut served) = tunnel(&app, way.front(), "GET /ws HTTP/1.1").await;
        for n in 0..50 {
            client.send(format!("up {n:05}")).await;
            assert_eq!(
                served.exact(8).await,
                format!("up {n:05}").as_bytes(),
                "{name}"
            );
            served.send(format!("down {n:05}")).await;
            assert_eq!(
                client.exact(10).await,
                format!("down {n:05}").as_bytes(),
                "{name}"
            );
        }
        served.shut().await;
        assert_eq!(client.until_end().await, (Vec::new(), true), "{name}");
        client.send("after your end").await;
        assert_eq!(served.exact(14).await, b"after your end", "{name}");
        client.shut().await;
        assert_eq!(served.until_end().await, (Vec::new(), true), "{name}");
    }
}

#[tokio::test]
async fn tunnels_are_counted_on_both_sides_and_other_requests_go_on() {
    let app = RawApp::new().await;
    let pair = Pair::start(app.addr, Setup::default()).await;
    let (client, served) = tunnel(&app, pair.proxy(), "GET http://app.shop/ws HTTP/1.1").await;
    for (shim, service) in [
        (&pair.web, "local\",service=\"shop/web"),
        (&pair.app, "inbound\",service=\"shop/app"),
    ] {
        let line = format!("mesh_tunnels{{direction=\"{service}\"}} 1");
        shim.metric(&line).await;
    }
    // Through the shared connections, meanwhile.
    let mut other = Wire::connect(pair.front()).await;
    other
        .send("GET /plain HTTP/1.1\r\nHost: app.shop\r\n\r\n")
        .await;
    let mut plain = app.accept().await;
    plain.request().await;
    plain
        .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    assert_eq!(other.answer().await.text(), "ok");
    drop((client, served));
    for (shim, service) in [
        (&pair.web, "local\",service=\"shop/web"),
        (&pair.app, "inbound\",service=\"shop/app"),
    ] {
        let line = format!("mesh_tunnels{{direction=\"{service}\"}} 0");
        shim.metric(&line).await;
    }
    let text = pair.web.metrics().await;
    assert!(text.contains("status=\"101\""), "{text}");
    assert!(
        text.contains("mesh_calls_in_flight{service=\"shop/app\"} 0"),
        "{text}"
    );
}

#[tokio::test]
async fn a_tunnels_reader_that_stalls_holds_its_sender() {
    for (app, way) in each_way().await {
        let (mut client, served) = tunnel(&app, way.front(), "GET /ws HTTP/1.1").await;
        let chunk = vec![7; 64 * 1024];
        let mut taken = 0;
        use tokio::io::AsyncWriteExt as _;
        while let Ok(written) =
            tokio::time::timeout(Duration::from_millis(700), client.io.write(&chunk)).await
        {
            taken += written.unwrap();
            assert!(taken < 256 << 20, "nothing holds it back");
        }
        println!(
            "{}: {} KiB until the sender waits",
            way.name(),
            taken / 1024
        );
        drop(served);
    }
}

#[tokio::test]
async fn a_tunnel_gets_the_time_to_drain_and_no_more() {
    let setup = Setup {
        flags: vec!["--drain-in-flight", "1s"],
        ..Setup::default()
    };
    for (app, mut way) in crate::shims_with(setup).await {
        let (mut client, mut served) = tunnel(&app, way.front(), "GET /ws HTTP/1.1").await;
        let shim = match &mut way {
            Way::Hop(hop) => &mut hop.app,
            Way::Pair(pair) => &mut pair.web,
            Way::Gate(gate) => &mut gate.edge,
        };
        let began = std::time::Instant::now();
        shim.signal(rustix::process::Signal::TERM);
        shim.line("draining").await;
        client.send("on its way").await;
        assert_eq!(served.exact(10).await, b"on its way");
        let _ = client.until_end().await;
        let took = began.elapsed();
        let _ = served.until_end().await;
        let code = shim.end().await.code();
        println!("{}: cut after {took:?}, code {code:?}", way.name());
        assert!(took >= Duration::from_secs(1), "{took:?}");
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
}

#[tokio::test]
async fn connect_is_opaque_and_counted() {
    let app = RawApp::new().await;
    let pair = Pair::start(app.addr, Setup::default()).await;
    let mut client = Wire::connect(pair.proxy()).await;
    let target = app.addr;
    client
        .send(format!(
            "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\nearly"
        ))
        .await;
    let mut served = app.accept().await;
    let got = client.head().await;
    assert_eq!(got.status(), 200, "{got:?}");
    assert_eq!(got.get("content-length"), None, "{got:?}");
    assert_eq!(served.exact(5).await, b"early");
    served.send(b"\x00any bytes\xff").await;
    assert_eq!(client.exact(11).await, b"\x00any bytes\xff");
    client.shut().await;
    assert_eq!(served.until_end().await, (Vec::new(), true));
    served.send("still").await;
    assert_eq!(client.exact(5).await, b"still");
    drop(served);
    client.until_end().await;

    let free = crate::common::free_port();
    for (target, status) in [
        (format!("127.0.0.1:{free}"), 502),
        ("127.0.0.1".to_owned(), 400),
    ] {
        let mut client = Wire::connect(pair.proxy()).await;
        client
            .send(format!(
                "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"
            ))
            .await;
        assert_eq!(client.head().await.status(), status, "{target}");
    }
    let text = pair.web.metrics().await;
    assert!(
        text.contains("mesh_shim_tunnels_total{result=\"opened\"} 1"),
        "{text}"
    );
    assert!(
        text.contains("mesh_shim_tunnels_total{result=\"refused\"} 2"),
        "{text}"
    );
}

/// Times and retries for the pair's calling side.
const POLICY: &str = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: app, namespace: shop }\n\
    spec: { parentRefs: [{ kind: Service, name: app, group: \"\" }], rules: [{ timeouts: { request: 400ms }, retry: { attempts: 3, codes: [503], backoff: 1ms } }] }\n\
    ---\napiVersion: policy.mesh/v1alpha1\nkind: BackendPolicy\nmetadata: { name: app, namespace: shop }\n\
    spec: { targetRefs: [{ kind: Service, name: app, group: \"\" }], streamIdleTimeout: 1s }\n";

#[tokio::test]
async fn a_tunnel_outlives_the_timeout_of_its_handshake_and_ends_when_it_is_silent() {
    let app = RawApp::new().await;
    let setup = Setup {
        policy: POLICY.to_owned(),
        ..Setup::default()
    };
    let pair = Pair::start(app.addr, setup).await;
    crate::warm(&app, pair.front()).await;
    let (mut client, mut served) = tunnel(&app, pair.front(), "GET /ws HTTP/1.1").await;
    let began = std::time::Instant::now();
    // Never silent for a second, and longer than both limits.
    while began.elapsed() < Duration::from_millis(2500) {
        client.send("tick").await;
        assert_eq!(served.exact(4).await, b"tick");
        // The pace: five turns within the second of silence that ends a tunnel.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let quiet = std::time::Instant::now();
    let _ = client.until_end().await;
    let took = quiet.elapsed();
    println!("a silent tunnel ended after {took:?}");
    assert!(took >= Duration::from_millis(500), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let _ = served.until_end().await;

    // A handshake that was answered is not tried again, whatever the route says of 503.
    let mut client = Wire::connect(pair.front()).await;
    client.send(format!("GET /ws HTTP/1.1\r\n{ASKS}")).await;
    let mut served = app.accept().await;
    served.head().await;
    served
        .send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno")
        .await;
    let got = client.answer().await;
    assert_eq!((got.head.status(), got.text().as_str()), (503, "no"));
    let again = tokio::time::timeout(Duration::from_millis(300), app.accept()).await;
    assert!(again.is_err(), "asked again");
    // Nor does one that is not answered have longer than the route's time.
    let mut client = Wire::connect(pair.front()).await;
    client.send(format!("GET /ws HTTP/1.1\r\n{ASKS}")).await;
    let mut served = app.accept().await;
    served.head().await;
    assert_eq!(client.answer().await.head.status(), 504);
}
