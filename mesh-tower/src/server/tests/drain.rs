use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use mesh_core::policy::{ConcurrencyAlgorithm, ConcurrencyPolicy};
use tokio::sync::watch;
use tower::service_fn;

use super::*;
use crate::server::ServerHandle;

/// A service whose answers wait until they are let go, and how many have arrived.
fn held(mesh: &Mesh) -> (ServerHandle, watch::Sender<bool>, Arc<AtomicUsize>) {
    let (go, gate) = watch::channel(false);
    let arrived = Arc::new(AtomicUsize::new(0));
    let counted = arrived.clone();
    let service = service_fn(move |request| {
        let mut gate = gate.clone();
        counted.fetch_add(1, Relaxed);
        async move {
            let _ = gate.wait_for(|go| *go).await;
            echo(request).await
        }
    });
    // They wait for an event: how long says nothing of the load.
    let unlimited = ConcurrencyPolicy::default().with_algorithm(ConcurrencyAlgorithm::Off);
    let server = mesh
        .server()
        .bind("127.0.0.1:0")
        .unwrap()
        .concurrency(unlimited)
        .serve(service)
        .unwrap();
    (server, go, arrived)
}

async fn arrive(arrived: &AtomicUsize, number: usize) {
    soon("all requests arrive", async {
        while arrived.load(Relaxed) < number {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_thousand_requests_in_flight_end_well() {
    let mesh = mesh();
    let (server, go, arrived) = held(&mesh);
    let addr = server.local_addr();
    let mut calls = Vec::new();
    // 900 on ten HTTP/2 connections, 100 on as many HTTP/1 ones.
    for _ in 0..10 {
        let client = client2(addr).await;
        for _ in 0..90 {
            let mut client = client.clone();
            calls.push(tokio::spawn(async move {
                let answer = client
                    .send_request(empty(Request::get("http://reviews.shop/x")))
                    .await
                    .unwrap();
                assert_eq!(text(answer).await, "GET /x ");
            }));
        }
    }
    for _ in 0..100 {
        let mut client = client1(addr).await;
        calls.push(tokio::spawn(async move {
            let answer = client.send_request(empty(get("/x"))).await.unwrap();
            assert_eq!(answer.headers()["connection"], "close");
            assert_eq!(text(answer).await, "GET /x ");
        }));
    }
    arrive(&arrived, 1000).await;
    mesh.drain().start();
    soon("draining", mesh.drain().draining()).await;
    // The door is closed; what is in flight is not hurried.
    soon("the listener closes", async {
        while TcpStream::connect(addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    go.send_replace(true);
    for call in calls {
        soon("each call ends", call).await.unwrap();
    }
    soon("the server ends", server.done()).await;
    soon("the drain ends", mesh.drain().done()).await;
    assert_eq!(arrived.load(Relaxed), 1000);
}

#[tokio::test]
async fn a_slow_body_is_sent_to_its_end() {
    let mesh = mesh();
    let (send, receive) = tokio::sync::mpsc::channel::<Bytes>(1);
    let receive = Arc::new(std::sync::Mutex::new(Some(receive)));
    let service = service_fn(move |_: Request<MeshBody>| {
        let receive = receive.lock().unwrap().take();
        async move {
            let frames = futures_util::stream::unfold(receive.unwrap(), |mut receive| async {
                let data = receive.recv().await?;
                Some((Ok::<_, Infallible>(http_body::Frame::data(data)), receive))
            });
            let body = MeshBody::new(http_body_util::StreamBody::new(frames));
            Ok::<_, Infallible>(Response::new(body))
        }
    });
    let server = mesh
        .server()
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(service)
        .unwrap();
    let mut client = client1(server.local_addr()).await;
    let answer = client.send_request(empty(get("/"))).await.unwrap();
    send.send(Bytes::from_static(b"one ")).await.unwrap();
    mesh.drain().start();
    soon("draining", mesh.drain().draining()).await;
    let writer = tokio::spawn(async move {
        for _ in 0..20 {
            send.send(Bytes::from_static(b"more ")).await.unwrap();
        }
    });
    let body = soon("the body", text(answer)).await;
    assert_eq!(body, format!("one {}", "more ".repeat(20)));
    writer.await.unwrap();
    soon("the server ends", server.done()).await;
}

#[tokio::test]
async fn while_unready_probes_fail_and_requests_pass() {
    let mesh = mesh();
    mesh.drain().set_timing(Timing {
        unready: Duration::from_secs(600),
        in_flight: Duration::from_secs(1),
    });
    let server = mesh
        .server()
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(service_fn(echo))
        .unwrap();
    let serving = mesh.feed().serving();
    assert_eq!(serving.borrow().len(), 1);
    let mut client = client1(server.local_addr()).await;
    let ready = client
        .send_request(empty(get("/.mesh/ready")))
        .await
        .unwrap();
    assert_eq!(ready.status(), 200);
    text(ready).await;

    mesh.drain().start();
    let ready = client
        .send_request(empty(get("/.mesh/ready")))
        .await
        .unwrap();
    assert_eq!(ready.status(), 503);
    assert_eq!(text(ready).await, "draining\n");
    let health = client
        .send_request(empty(get("/.mesh/health")))
        .await
        .unwrap();
    assert_eq!(health.status(), 200);
    text(health).await;
    let mut late = client1(server.local_addr()).await;
    assert_eq!(
        late.send_request(empty(get("/"))).await.unwrap().status(),
        200
    );
    let mut serving = serving;
    soon("it leaves the registry", serving.wait_for(Vec::is_empty))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_idle_connection_may_still_bring_what_was_on_its_way() {
    let mesh = mesh();
    let server = mesh
        .server()
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(service_fn(echo))
        .unwrap();
    let mut client = client1(server.local_addr()).await;
    client.send_request(empty(get("/"))).await.unwrap();
    mesh.drain().start();
    soon("draining", mesh.drain().draining()).await;
    let answer = client.send_request(empty(get("/late"))).await.unwrap();
    assert_eq!(answer.status(), 200);
    soon("the server ends", server.done()).await;
}

#[tokio::test]
async fn what_never_ends_is_cut_when_the_time_is_over() {
    let mesh = mesh();
    mesh.drain().set_timing(Timing {
        unready: Duration::ZERO,
        in_flight: Duration::from_millis(50),
    });
    let (server, _go, arrived) = held(&mesh);
    let mut client = client1(server.local_addr()).await;
    let call = tokio::spawn(async move { client.send_request(empty(get("/"))).await });
    arrive(&arrived, 1).await;
    mesh.drain().start();
    soon("the server ends", server.done()).await;
    assert!(call.await.unwrap().is_err());
}

#[tokio::test]
async fn one_server_can_stop_without_the_mesh() {
    let mesh = mesh();
    let (server, go, arrived) = held(&mesh);
    let mut client = client1(server.local_addr()).await;
    let call = tokio::spawn(async move { client.send_request(empty(get("/"))).await });
    arrive(&arrived, 1).await;
    go.send_replace(true);
    soon("the server ends", server.shutdown()).await;
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
    assert!(mesh.drain().is_serving());
}
