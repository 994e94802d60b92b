use tower::service_fn;

use super::*;
use crate::server::{Limits, ServerHandle};

fn start() -> ServerHandle {
    mesh()
        .server()
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(service_fn(echo))
        .unwrap()
}

#[tokio::test]
async fn host_must_be_there_once() {
    let server = start();
    let addr = server.local_addr();
    for bad in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let answer = raw(addr, bad).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{bad:?}: {answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
    let good = raw(
        addr,
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(good.starts_with("HTTP/1.1 200"), "{good}");
    let old = raw(addr, "GET / HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200"), "{old}");
}

#[tokio::test]
async fn connect_is_refused() {
    let server = start();
    let answer = raw(
        server.local_addr(),
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
}

#[tokio::test]
async fn an_absolute_target_is_served_by_its_path() {
    let server = start();
    let sent = "GET http://a/b HTTP/1.1\r\nHost: c\r\nConnection: close\r\n\r\n";
    let answer = raw(server.local_addr(), sent).await;
    assert!(answer.ends_with("GET /b "), "{answer}");
}

#[tokio::test]
async fn fields_of_the_hop_do_not_reach_the_service() {
    let server = start();
    let sent = "GET / HTTP/1.1\r\nHost: a\r\nX-Probe: 1\r\nConnection: close, x-probe\r\n\r\n";
    let answer = raw(server.local_addr(), sent).await;
    assert!(answer.ends_with("GET / "), "{answer}");
}

#[tokio::test]
async fn too_many_or_too_large_fields_are_431() {
    let server = start();
    let addr = server.local_addr();
    let mut many = "GET / HTTP/1.1\r\nHost: a\r\n".to_owned();
    for n in 0..120 {
        many += &format!("x-{n}: 1\r\n");
    }
    let answer = raw(addr, &(many + "\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let large = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nx: {}\r\n\r\n",
        "y".repeat(70 * 1024)
    );
    let answer = raw(addr, &large).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let fits = "y".repeat(60 * 1024);
    let fits = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nx: {fits}\r\n\r\n");
    let answer = raw(addr, &fits).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn http2_in_plaintext_is_told_by_its_preface_and_bounds_its_fields() {
    let server = start();
    let mut client = client2(server.local_addr()).await;
    let ok = client
        .send_request(empty(Request::get("http://reviews.shop/x")))
        .await
        .unwrap();
    assert_eq!(text(ok).await, "GET /x ");

    let mut many = Request::get("http://reviews.shop/x");
    for n in 0..120 {
        many = many.header(format!("x-{n}"), "1");
    }
    let refused = client.send_request(empty(many)).await.unwrap();
    assert_eq!(refused.status(), 431);

    let two_hosts = Request::get("http://reviews.shop/").header("host", "other");
    let refused = client.send_request(empty(two_hosts)).await.unwrap();
    assert_eq!(refused.status(), 400);
}

#[tokio::test]
async fn slow_heads_and_silent_peers_are_cut() {
    let limits = Limits {
        head: Duration::from_millis(100),
        handshake: Duration::from_millis(100),
        ..Limits::default()
    };
    let server = mesh()
        .server()
        .limits(limits)
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(service_fn(echo))
        .unwrap();
    for sent in ["", "GET / HTT", "PRI * HTTP/2.0\r\n"] {
        let answer = raw(server.local_addr(), sent).await;
        assert_eq!(answer, "", "{sent:?}");
    }
}

#[tokio::test]
async fn connections_above_the_cap_are_closed_and_counted() {
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    let mesh = mesh();
    let server = mesh
        .server()
        .limits(limits)
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(service_fn(echo))
        .unwrap();
    let addr = server.local_addr();
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = client1(addr).await;
        client.send_request(empty(get("/"))).await.unwrap();
        held.push(client);
    }
    assert_eq!(raw(addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await, "");
    let metrics = mesh.recorder().render();
    assert!(metrics.contains("reason=\"connections\"} 1"), "{metrics}");
    // A place that is given back can be taken again.
    held.clear();
    soon("the two connections end", async {
        while server.connections() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let again = raw(
        addr,
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(again.starts_with("HTTP/1.1 200"), "{again}");
}
