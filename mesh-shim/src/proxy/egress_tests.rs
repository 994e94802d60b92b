//! Hosts that the policy does not know: let out and reported, or refused.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use mesh_tower::Mesh;
use mesh_tower::server::ServerHandle;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::tests::{ask, head, listen};
use super::{Outbound, Tunnels};
use crate::config::Egress;

/// A forward proxy whose mesh knows no service.
fn proxy(egress: Egress) -> (ServerHandle, Arc<Tunnels>) {
    let mesh = Mesh::builder("shop/app").build().unwrap();
    let tunnels = Arc::new(Tunnels::new(egress));
    let proxy = Outbound::proxy(&mesh, tunnels.clone(), TaskTracker::new());
    (listen(&mesh, proxy), tunnels)
}

/// A server that keeps its connections; gives the heads of the requests, each with the number of its
/// connection.
async fn server() -> (
    SocketAddr,
    tokio::sync::mpsc::UnboundedReceiver<(u32, String)>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (seen, heads) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        for connection in 1.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let seen = seen.clone();
            tokio::spawn(async move {
                loop {
                    let head = head(&mut stream).await;
                    let answer =
                        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Is: outside\r\n\r\nmoon";
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    let _ = seen.send((connection, head));
                }
            });
        }
    });
    (addr, heads)
}

#[tokio::test]
async fn a_request_to_an_unknown_host_is_let_out_and_reported() {
    let (outside, mut heads) = server().await;
    let (server, tunnels) = proxy(Egress::Report);
    let target = format!("http://{outside}/far?x=1");
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: other\r\nProxy-Connection: keep-alive\r\nX-Own: 1\r\n\r\n\
         GET {target} HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n"
    );
    let answer = ask(server.local_addr(), &request).await;
    assert_eq!(answer.matches("http/1.1 200 ok").count(), 2, "{answer}");
    assert_eq!(answer.matches("x-is: outside").count(), 2, "{answer}");
    assert_eq!(answer.matches("moon").count(), 2, "{answer}");
    let (connection, first) = heads.recv().await.unwrap();
    assert!(first.starts_with("get /far?x=1 http/1.1\r\n"), "{first}");
    assert!(
        first.contains(&format!("\r\nhost: {outside}\r\n")),
        "{first}"
    );
    assert!(
        first.contains("x-own: 1") && !first.contains("proxy-connection"),
        "{first}"
    );
    assert!(
        !first.contains("x-mesh"),
        "nothing of the mesh's leaves it: {first}"
    );
    assert_eq!(
        heads.recv().await.unwrap().0,
        connection,
        "connections are kept"
    );
    let counted = "mesh_shim_egress_total{host=\"127.0.0.1\"} 2";
    assert!(
        tunnels.metrics(None).contains(counted),
        "{}",
        tunnels.metrics(None)
    );
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_told_with_a_code() {
    let (server, _tunnels) = proxy(Egress::Report);
    let request = "GET http://nowhere.invalid/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = ask(server.local_addr(), request).await;
    assert!(answer.starts_with("http/1.1 503"), "{answer}");
    assert!(answer.contains("mesh-reason: m2011"), "{answer}");
    assert!(
        answer.contains("nowhere.invalid is not in the policy"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_server_outside_that_refuses_is_told_with_a_code() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let (server, _tunnels) = proxy(Egress::Report);
    let request = format!("GET http://{closed}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let answer = ask(server.local_addr(), &request).await;
    assert!(answer.starts_with("http/1.1 503"), "{answer}");
    assert!(answer.contains("mesh-reason: m2010"), "{answer}");
}

#[tokio::test]
async fn connect_goes_by_the_policy_and_unknown_hosts_as_egress_says() {
    let (echo, heard) = tunnel_end().await;
    let policy = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: db, namespace: shop }}\n\
         spec:\n  ports: [{{ port: 5432, appProtocol: tcp }}]\n  \
         endpoints: {{ static: [{{ address: \"{echo}\" }}] }}\n"
    );
    for (egress, code) in [(Egress::Report, "200"), (Egress::Deny, "403")] {
        let mesh = Mesh::builder("shop/app")
            .policy_text(&policy)
            .build()
            .unwrap();
        let tunnels = Arc::new(Tunnels::new(egress));
        let proxy = Outbound::proxy(&mesh, tunnels.clone(), TaskTracker::new());
        let server = listen(&mesh, proxy);
        let addr = server.local_addr();
        // By the engine: nobody resolves db.shop, and the port is the policy's.
        let before = heard.load(Relaxed);
        let answer = ask(
            addr,
            "CONNECT db.shop:5432 HTTP/1.1\r\nHost: db.shop:5432\r\n\r\n",
        )
        .await;
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
        assert!(heard.load(Relaxed) > before);
        assert!(
            mesh.metrics_text()
                .contains("service=\"shop/db\",result=\"opened\"} 1")
        );
        // A port that it does not have is not its.
        let other = format!(
            "CONNECT 127.0.0.1:{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            echo.port()
        );
        let answer = ask(addr, &other).await;
        assert!(answer.starts_with(&format!("http/1.1 {code}")), "{answer}");
        let text = tunnels.metrics(None);
        assert!(
            text.contains("mesh_shim_egress_total{host=\"127.0.0.1\"} 1"),
            "{text}"
        );
        if egress == Egress::Deny {
            assert!(answer.contains("m4007"), "{answer}");
            let get = "GET http://api.example/ HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n";
            let answer = ask(addr, get).await;
            assert!(
                answer.starts_with("http/1.1 403") && answer.contains("m4007"),
                "{answer}"
            );
            let get = "GET http://api.example/ HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n";
            for n in 0..150 {
                let _ = tunnels.unknown(&format!("h{n}.example"));
            }
            let _ = ask(addr, get).await;
            let names = tunnels
                .metrics(None)
                .matches("mesh_shim_egress_total{")
                .count();
            assert_eq!(names, 101, "bounded");
        }
    }
}

/// Says a word to each connection and ends it; counts them.
async fn tunnel_end() -> (SocketAddr, Arc<AtomicU32>) {
    let heard = Arc::new(AtomicU32::new(0));
    let counts = heard.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut io, _)) = listener.accept().await {
            counts.fetch_add(1, Relaxed);
            let _ = io.write_all(b"hello").await;
        }
    });
    (addr, heard)
}
