//! One local port whose meaning the policy changes.

use super::*;
use crate::body::MeshBody;
use crate::tcp::{Carried, TcpPort};
use crate::transport::TcpAccept;

fn policy(protocol: &str, addr: SocketAddr) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: redis, namespace: shop }}\nspec:\n  \
         ports: [{{ port: 6379, appProtocol: {protocol} }}]\n  \
         endpoints: {{ static: [{{ address: \"{addr}\" }}] }}\n"
    )
}

async fn http(addr: SocketAddr) -> Vec<u8> {
    let request = b"GET / HTTP/1.1\r\nhost: redis\r\nconnection: close\r\n\r\n";
    let mut io = TcpStream::connect(addr).await.unwrap();
    io.write_all(request).await.unwrap();
    let mut all = Vec::new();
    soon("an answer", io.read_to_end(&mut all)).await.unwrap();
    all
}

#[tokio::test]
async fn the_policy_says_at_each_connection_what_a_port_is_of() {
    let mesh = Mesh::builder("web").namespace("shop").build().unwrap();
    let echo = echo().await;
    let carried = Carried::new();
    let listener = TcpAccept::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = TcpPort::new(listener, mesh.tcp("redis:6379"), carried.clone());
    let server = mesh
        .server()
        .accept(port)
        .tls(crate::server::TlsChoice::Disabled)
        .serve(tower::service_fn(async |_: http::Request<MeshBody>| {
            Ok::<_, std::convert::Infallible>(http::Response::new(MeshBody::full("a page")))
        }))
        .unwrap();
    let local = server.local_addr();
    for round in 0..3 {
        apply(&mesh, &policy("http", echo));
        soon("requests", async {
            while !http(local).await.ends_with(b"a page") {}
        })
        .await;
        apply(&mesh, &policy("tcp", echo));
        soon("bytes", async {
            while ask(local, b"PING\r\n\r\n").await.unwrap() != b"PING\r\n\r\n" {}
        })
        .await;
        println!("round {round}: requests, then bytes, on one port");
    }
    // A connection that is open when the server stops goes on until its time is over.
    let mut io = TcpStream::connect(local).await.unwrap();
    let mut byte = [0];
    io.write_all(b"x").await.unwrap();
    soon("the echo", io.read_exact(&mut byte)).await.unwrap();
    soon("the server's end", server.shutdown()).await;
    assert_eq!(carried.len(), 1);
    io.write_all(b"y").await.unwrap();
    soon("the echo", io.read_exact(&mut byte)).await.unwrap();
    carried.end(Duration::from_millis(100)).await;
    assert!(soon("the cut", io.read(&mut byte)).await.is_err());
}
