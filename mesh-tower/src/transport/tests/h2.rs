use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use super::server::{Server, echo, server};
use super::{LONG, call, get, pool, until};
use crate::BoxError;
use crate::body::MeshBody;
use crate::transport::{EndpointPool, PoolConfig, Protocol};

fn http2(server: &Server) -> PoolConfig {
    PoolConfig::new(server.addr).with_protocol(Protocol::Http2)
}

fn spawn(
    pool: &Arc<EndpointPool>,
    path: String,
) -> tokio::task::JoinHandle<Result<String, mesh_core::error::MeshError>> {
    let pool = pool.clone();
    tokio::spawn(async move { call(&pool, &path).await })
}

#[tokio::test]
async fn a_burst_of_first_calls_shares_one_connection() {
    let server = server().start(echo);
    let pool = Arc::new(pool(http2(&server)));
    let calls: Vec<_> = (0..100).map(|n| spawn(&pool, format!("/{n}"))).collect();
    for (n, one) in calls.into_iter().enumerate() {
        assert_eq!(
            one.await.expect("a task").expect("an answer"),
            format!("/{n}")
        );
    }
    assert_eq!(server.connections(), 1);
    assert_eq!(pool.stats().opened, 1);
}

#[tokio::test]
async fn grpc_over_plaintext_takes_http2_and_the_rest_http1() {
    let server = server().start(|request| async move {
        Response::new(MeshBody::full(format!("{:?}", request.version())))
    });
    let pool = pool(PoolConfig::new(server.addr));
    assert_eq!(call(&pool, "/").await.expect("an answer"), "HTTP/1.1");
    let mut request = get("/");
    let grpc = http::HeaderValue::from_static("application/grpc+proto");
    request.headers_mut().insert("content-type", grpc);
    let response = pool.call(request).await.expect("an answer");
    assert_eq!(super::text(response).await, "HTTP/2.0");
}

#[tokio::test]
async fn a_full_connection_gets_a_second_one() {
    let (release, held) = tokio::sync::watch::channel(false);
    let server = server().max_streams(2).start(move |request| {
        let mut held = held.clone();
        async move {
            if request.uri().path() == "/held" {
                let _ = held.wait_for(|open| *open).await;
            }
            echo(request).await
        }
    });
    let pool = Arc::new(pool(http2(&server)));
    // The server's limit is known after its settings have come.
    call(&pool, "/").await.expect("an answer");
    call(&pool, "/").await.expect("an answer");
    let calls: Vec<_> = (0..6).map(|_| spawn(&pool, "/held".to_owned())).collect();
    until("all are there", || server.requests() == 8).await;
    assert!(server.connections() >= 2, "{}", server.connections());
    release.send(true).expect("the server lives");
    for one in calls {
        one.await.expect("a task").expect("an answer");
    }
}

#[tokio::test]
async fn at_the_limit_of_connections_calls_queue_on_the_one_there_is() {
    let server = server().max_streams(1).start(echo);
    let pool = Arc::new(pool(http2(&server).with_max_connections(1)));
    call(&pool, "/").await.expect("an answer");
    let calls: Vec<_> = (0..20).map(|n| spawn(&pool, format!("/{n}"))).collect();
    for one in calls {
        tokio::time::timeout(LONG, one)
            .await
            .expect("in time")
            .expect("a task")
            .expect("an answer");
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn goaway_under_load_loses_no_call() {
    let server = server().start(echo);
    let pool = Arc::new(pool(http2(&server)));
    let workers: Vec<_> = (0..8)
        .map(|worker| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for n in 0..250 {
                    let path = format!("/{worker}/{n}");
                    let mut tries = 0;
                    // Refused calls are for the retry layer above; here it is this loop.
                    let answer = loop {
                        match call(&pool, &path).await {
                            Err(error) if error.is_retryable() && tries < 3 => tries += 1,
                            other => break other,
                        }
                    };
                    assert_eq!(answer.unwrap_or_else(|e| panic!("{path}: {e:#}")), path);
                }
            })
        })
        .collect();
    let mut said = 0;
    while workers.iter().any(|worker| !worker.is_finished()) {
        server.finish_connections();
        said += 1;
        let seen = server.requests();
        until("some more calls", || {
            server.requests() > seen + 20 || workers.iter().all(|worker| worker.is_finished())
        })
        .await;
    }
    for worker in workers {
        worker.await.expect("no call was lost");
    }
    assert!(said > 10, "{said}");
    assert!(server.connections() > 10, "{}", server.connections());
}

/// A stalled reader bounds what the server can push, and does not stop the other streams.
#[tokio::test]
async fn a_slow_reader_holds_back_its_own_stream_only() {
    const CHUNK: usize = 16 * 1024;
    let pushed = Arc::new(AtomicUsize::new(0));
    let count = pushed.clone();
    let server = server().start(move |request| {
        let count = count.clone();
        async move {
            if request.uri().path() != "/flood" {
                return echo(request).await;
            }
            let flood = futures_util::stream::repeat_with(move || {
                count.fetch_add(CHUNK, Relaxed);
                Ok::<_, BoxError>(Frame::data(Bytes::from_static(&[0; CHUNK])))
            });
            Response::new(MeshBody::new(StreamBody::new(flood)))
        }
    });
    let pool = pool(http2(&server));
    let mut stalled = pool.call(get("/flood")).await.expect("an answer");
    stalled
        .body_mut()
        .frame()
        .await
        .expect("a frame")
        .expect("data");
    for n in 0..200 {
        let path = format!("/{n}");
        assert_eq!(call(&pool, &path).await.expect("an answer"), path);
    }
    let pushed = pushed.load(Relaxed);
    // One window to us, and what the server's HTTP/2 layer buffers for the stream.
    assert!(pushed <= 256 * 1024 + 1024 * 1024, "{pushed}");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_dropped_call_is_dropped_at_the_server() {
    super::failures::dropped_upstream(Protocol::Http2).await;
}

#[tokio::test]
async fn trailers_pass() {
    let server = server().start(|_| async {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
        let frames = [
            Ok::<_, BoxError>(Frame::data(Bytes::from("x"))),
            Ok(Frame::trailers(trailers)),
        ];
        Response::new(MeshBody::new(StreamBody::new(futures_util::stream::iter(
            frames,
        ))))
    });
    let response = pool(http2(&server))
        .call(get("/"))
        .await
        .expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
    let collected = response.into_body().collect().await.expect("a body");
    assert_eq!(collected.trailers().expect("trailers")["grpc-status"], "0");
}
