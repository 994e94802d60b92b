//! gRFC A105 and GOAWAY, over real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use http::{Request, Response};
use mesh_core::policy::model::{ConcurrencyAlgorithm, ConcurrencyPolicy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service;

use super::server::{echo, server};
use super::{LONG, pool, until};
use crate::body::MeshBody;
use crate::mesh::Mesh;
use crate::runtime::AbortOnDrop;
use crate::transport::{PoolConfig, Protocol};

#[tokio::test]
async fn a105_a_thousand_calls_at_once_to_a_server_with_100_streams_a_connection() {
    let (release, held) = tokio::sync::watch::channel(false);
    let server = server().max_streams(100).start(move |request| {
        let mut held = held.clone();
        async move {
            let _ = held.wait_for(|open| *open).await;
            echo(request).await
        }
    });
    let config = PoolConfig::new(server.addr).with_protocol(Protocol::Http2);
    let pool = Arc::new(pool(config));
    let began = Instant::now();
    let calls: Vec<_> = (0..1000)
        .map(|n| {
            let pool = pool.clone();
            tokio::spawn(async move { super::call(&pool, &format!("/{n}")).await })
        })
        .collect();
    // From a cold start: nobody has told the limit yet.
    until("all 1,000 are there at once", || server.requests() == 1000).await;
    let took = began.elapsed();
    assert_eq!(server.connections(), 10);
    release.send(true).expect("the server lives");
    for (n, one) in calls.into_iter().enumerate() {
        let answer = one.await.expect("a task").expect("an answer");
        assert_eq!(answer, format!("/{n}"));
    }
    println!("1,000 calls in flight on 10 connections after {took:?}");
}

/// A server of HTTP/2 by hand: its first connection takes five requests, answers the first, and
/// says GOAWAY with the first one's id: the other four were not processed.
async fn refusing(mut io: TcpStream, first: bool, processed: Arc<AtomicUsize>) {
    let mut preface = [0; 24];
    let hello = io.read_exact(&mut preface).await;
    let settings = io.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
    if hello.is_err() || settings.is_err() {
        return;
    }
    let (mut streams, mut said) = (Vec::new(), false);
    loop {
        let mut head = [0; 9];
        if io.read_exact(&mut head).await.is_err() {
            return;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        if io.read_exact(&mut payload).await.is_err() {
            return;
        }
        match (head[3], head[4] & 1) {
            // SETTINGS: acknowledged.
            (4, 0) => {
                let _ = io.write_all(&[0, 0, 0, 4, 1, 0, 0, 0, 0]).await;
            }
            // HEADERS.
            (1, _) => streams.push(u32::from_be_bytes([head[5], head[6], head[7], head[8]])),
            _ => {}
        }
        let answer = |stream: u32| {
            processed.fetch_add(1, SeqCst);
            // HEADERS with `:status: 200`, END_HEADERS and END_STREAM.
            let mut frame = vec![0, 0, 1, 1, 5];
            frame.extend_from_slice(&stream.to_be_bytes());
            frame.push(0x88);
            frame
        };
        if !first {
            for stream in streams.drain(..) {
                let _ = io.write_all(&answer(stream)).await;
            }
        } else if streams.len() == 5 && !std::mem::replace(&mut said, true) {
            let mut goaway = vec![0, 0, 8, 7, 0, 0, 0, 0, 0];
            goaway.extend_from_slice(&streams[0].to_be_bytes());
            goaway.extend_from_slice(&[0; 4]);
            let _ = io.write_all(&goaway).await;
            let _ = io.write_all(&answer(streams[0])).await;
        }
    }
}

#[tokio::test]
async fn goaway_that_refuses_streams_is_retried_transparently_whatever_the_method() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let addr = listener.local_addr().expect("an address");
    let processed = Arc::new(AtomicUsize::new(0));
    let count = processed.clone();
    let _server = AbortOnDrop::spawn(async move {
        let mut first = true;
        while let Ok((io, _)) = listener.accept().await {
            let first = std::mem::take(&mut first);
            tokio::spawn(refusing(io, first, count.clone()));
        }
    });
    let mesh = Mesh::builder("web")
        .policy_text(&format!(
            "service: default/reviews\nports: [{{ port: 80, appProtocol: http2 }}]\n\
             endpoints: {{ static: [{{ address: '{addr}' }}] }}\nbackend: {{}}\n"
        ))
        .build()
        .expect("a mesh");
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let mut client = mesh.client("reviews");
            // Not idempotent, and no policy says that it may be repeated.
            let request = Request::post("/order").body(MeshBody::full("one"));
            tokio::spawn(async move { client.call(request.expect("a request")).await })
        })
        .collect();
    for one in calls {
        let answered = tokio::time::timeout(LONG, one).await.expect("in time");
        let answer = answered.expect("a task").expect("an answer");
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(processed.load(SeqCst), 5, "each was processed once");
}

/// Server connections that end after 150 ms, under some thousand calls a second.
async fn under_load(protocol: &str) -> usize {
    let server = Mesh::builder("default/reviews").build().expect("a mesh");
    let limits = crate::server::Limits {
        max_age: Some(Duration::from_millis(150)),
        max_age_grace: Some(Duration::from_secs(20)),
        ..crate::server::Limits::default()
    };
    let handle = server
        .server()
        .limits(limits)
        // What is shown here is that no call is lost, not that an overload is shed.
        .concurrency(ConcurrencyPolicy::default().with_algorithm(ConcurrencyAlgorithm::Off))
        .bind("127.0.0.1:0")
        .expect("a port")
        .serve(tower::service_fn(async |_: Request<MeshBody>| {
            // The work of a call.
            tokio::time::sleep(Duration::from_millis(2)).await;
            Ok::<_, std::convert::Infallible>(Response::new(MeshBody::full("ok")))
        }))
        .expect("a server");
    let mesh = Mesh::builder("web")
        .policy_text(&format!(
            "service: default/reviews\nports: [{{ port: 80, appProtocol: {protocol} }}]\n\
             endpoints: {{ static: [{{ address: '{}' }}] }}\n",
            handle.local_addr()
        ))
        .build()
        .expect("a mesh");
    let failed = Arc::new(AtomicUsize::new(0));
    let mut beat = tokio::time::interval(Duration::from_millis(1));
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let mut calls = tokio::task::JoinSet::new();
    // Open loop: 1,000 a second, whatever became of the last. A machine that cannot keep that is
    // given as much as it can: the calls count, not the rate.
    let room = Arc::new(tokio::sync::Semaphore::new(500));
    for n in 0..3000 {
        beat.tick().await;
        let place = room.clone().acquire_owned().await.expect("open");
        let (mut client, failed) = (mesh.client("reviews"), failed.clone());
        calls.spawn(async move {
            let method = if n % 2 == 0 { "GET" } else { "POST" };
            let request = Request::builder().method(method).uri("/");
            let request = request.body(MeshBody::full("x")).expect("a request");
            let answer = client.call(request).await;
            let whole = match answer {
                Ok(answer) if answer.status() == 200 => {
                    answer.into_body().collect_to_bytes(1 << 10).await.is_ok()
                }
                Ok(_) => false,
                Err(error) => {
                    println!("{error:#}");
                    false
                }
            };
            failed.fetch_add(usize::from(!whole), SeqCst);
            drop(place);
        });
    }
    while calls.join_next().await.is_some() {}
    let opened = mesh
        .report()
        .edges
        .iter()
        .map(|edge| edge.calls)
        .sum::<u64>();
    assert_eq!(opened, 3000);
    failed.load(SeqCst)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a9_connections_that_end_by_age_under_load_lose_no_call() {
    for protocol in ["http2", "http"] {
        let failed = under_load(protocol).await;
        println!("{protocol}: 3,000 calls over connections of 150 ms: {failed} failed");
        assert_eq!(failed, 0, "{protocol}");
    }
}
