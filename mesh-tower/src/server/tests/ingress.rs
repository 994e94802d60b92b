//! Requests from outside; what the real binary does with them is in mesh-shim/tests/ingress.

use super::*;
use crate::server::{Ingress, ServerHandle};

/// An ingress whose one route leads `www.example.com` to `app`.
fn edge(app: SocketAddr) -> (Mesh, ServerHandle) {
    let policy = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: web, namespace: shop }}\n\
         spec: {{ endpoints: {{ static: [{{ address: \"{app}\" }}] }} }}\n---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: www, namespace: shop }}\n\
         spec:\n  parentRefs: [{{ group: \"\", kind: Service, name: edge }}]\n  hostnames: [www.example.com]\n  \
         rules: [{{ backendRefs: [{{ name: web, port: 80 }}] }}]\n"
    );
    let mesh = built(Mesh::builder("edge").namespace("shop").policy_text(&policy));
    let server = mesh.server().bind("127.0.0.1:0").unwrap();
    let server = server.ingress(Ingress::plaintext()).unwrap();
    (mesh, server)
}

#[tokio::test]
async fn what_no_route_names_is_counted_of_http_and_of_grpc() {
    let (edge, server) = edge(([127, 0, 0, 1], 1).into());
    let mut client = client1(server.local_addr()).await;
    let ask = || Request::post("/x").header("host", "unknown.example.com");
    let answer = client.send_request(empty(ask())).await.unwrap();
    assert_eq!(answer.status(), 404);
    text(answer).await;
    let call = ask().header("content-type", "application/grpc");
    let answer = client.send_request(empty(call)).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "12");
    let metrics = edge.metrics_text();
    let is_refused = |line: &&str| line.starts_with("mesh_ingress_refused_total");
    let all: Vec<_> = metrics.lines().filter(is_refused).collect();
    println!("{all:?}");
    assert!(all.contains(&"mesh_ingress_refused_total{reason=\"no_route\"} 2"));
}
