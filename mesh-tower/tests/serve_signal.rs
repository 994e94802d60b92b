//! `Mesh::serve` ends at SIGTERM, and cuts nothing.
#![cfg(unix)]

use std::{convert::Infallible, time::Duration};

use http::{Request, Response};
use mesh_tower::{Mesh, MeshBody, drain::Timing};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
};

const HANGS: Duration = Duration::from_secs(20);

#[tokio::test]
async fn sigterm_drains_and_cuts_nothing_in_flight() {
    static ENTERED: Notify = Notify::const_new();
    static RELEASE: Notify = Notify::const_new();
    let mesh = Mesh::builder("shop/web").build().unwrap();
    mesh.drain().set_timing(Timing {
        unready: Duration::ZERO,
        in_flight: HANGS,
    });
    let service = tower::service_fn(async |_: Request<MeshBody>| {
        ENTERED.notify_one();
        RELEASE.notified().await;
        Ok::<_, Infallible>(Response::new(MeshBody::full("done")))
    });
    let mut serving = mesh.feed().serving();
    let served = tokio::spawn(mesh.serve("127.0.0.1:0", service));
    let addr = tokio::time::timeout(HANGS, serving.wait_for(|all| !all.is_empty()))
        .await
        .expect("it serves")
        .unwrap()[0]
        .addr;

    let mut io = TcpStream::connect(addr).await.unwrap();
    io.write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        .await
        .unwrap();
    tokio::time::timeout(HANGS, ENTERED.notified())
        .await
        .expect("the request arrives");
    let pid = std::process::id().to_string();
    let status = std::process::Command::new("kill")
        .args(["-TERM", &pid])
        .status()
        .unwrap();
    assert!(status.success());
    tokio::time::timeout(HANGS, mesh.drain().draining())
        .await
        .expect("the drain begins");
    RELEASE.notify_one();

    let mut answer = String::new();
    tokio::time::timeout(HANGS, io.read_to_string(&mut answer))
        .await
        .expect("an answer")
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("done"), "{answer}");
    tokio::time::timeout(HANGS, served)
        .await
        .expect("serve() returns")
        .unwrap()
        .unwrap();
}
