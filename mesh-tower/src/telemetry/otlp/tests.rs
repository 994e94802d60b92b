#![allow(clippy::print_stdout, reason = "the figures are what the tests show")]

use std::{
    convert::Infallible,
    future::Future,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_core::context::TraceContext;
use tower_service::Service as _;

use crate::body::MeshBody;
use crate::telemetry::spans::{Side, Tracing};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// A collector: remembers what was posted and answers with an empty gRPC message.
async fn collector() -> (String, Arc<Mutex<Vec<Bytes>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let posted = Arc::<Mutex<Vec<Bytes>>>::default();
    let seen = posted.clone();
    tokio::spawn(async move {
        loop {
            let (io, _) = listener.accept().await.unwrap();
            let seen = seen.clone();
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let seen = seen.clone();
                async move {
                    assert_eq!(request.uri().path(), EXPORT);
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    seen.lock().unwrap().push(body);
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", HeaderValue::from_static("0"));
                    let frames = [
                        Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; 5]))),
                        Ok(Frame::trailers(trailers)),
                    ];
                    let body = StreamBody::new(futures_util::stream::iter(frames));
                    let answer = Response::builder().header("content-type", "application/grpc");
                    Ok::<_, Infallible>(answer.body(body).unwrap())
                }
            });
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(io), service),
            );
        }
    });
    (url, posted)
}

fn holds(all: &[Bytes], part: &[u8]) -> bool {
    all.iter()
        .any(|body| body.windows(part.len()).any(|window| window == part))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_span_reaches_a_collector_with_the_ids_of_the_wire() {
    let (url, posted) = collector().await;
    let tracing = Tracing::to_endpoint("shop/web", &url).unwrap();
    let context = TraceContext::from_ids([7; 16], [9; 8], 1).unwrap();
    let mut span = tracing.start(Side::Server, &context, Some([5; 8]), || {
        "GET /reviews".into()
    });
    span.set("http.request.method", || "GET".into());
    span.fail(|| "M2008".into());
    drop(span);
    // Not sampled by the caller: not exported.
    let quiet = TraceContext::from_ids([8; 16], [9; 8], 0).unwrap();
    drop(tracing.start(Side::Server, &quiet, None, || "GET /quiet".into()));

    let flushed = tracing.clone();
    tokio::task::spawn_blocking(move || flushed.flush())
        .await
        .unwrap();
    let all = posted.lock().unwrap().clone();
    for part in [
        &b"shop/web"[..],
        b"GET /reviews",
        b"M2008",
        &[7; 16],
        &[9; 8],
        &[5; 8],
    ] {
        assert!(holds(&all, part), "{part:?}");
    }
    assert!(!holds(&all, b"GET /quiet"));
    // The collector is of this runtime, and the end blocks.
    tokio::task::spawn_blocking(move || drop(tracing))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_hurts_nobody() {
    let tracing = Tracing::to_endpoint("shop/web", "http://127.0.0.1:1").unwrap();
    let context = TraceContext::from_ids([7; 16], [9; 8], 1).unwrap();
    drop(tracing.start(Side::Attempt, &context, None, || "reviews".into()));
    tokio::task::spawn_blocking(move || tracing.flush())
        .await
        .unwrap();
}

/// [`collector`] on a thread of its own, for tests whose one thread is to block.
fn collector_elsewhere() -> (String, Arc<Mutex<Vec<Bytes>>>) {
    let (give, started) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        one_thread(async {
            give.send(collector().await).unwrap();
            // It ends with the process of the tests.
            std::future::pending::<()>().await;
        });
    });
    started.recv().unwrap()
}

/// A mesh that has made a call whose spans are still here.
async fn called(url: &str) -> crate::Mesh {
    let net = crate::testkit::TestNet::new();
    let reviews = net.endpoint("10.0.0.1:80");
    let mesh = net
        .mesh("shop/web")
        .tracing(Tracing::to_endpoint("shop/web", url).unwrap())
        .endpoints("reviews.shop", [reviews.addr()])
        .build()
        .unwrap();
    let request = Request::get("/last-one").body(MeshBody::empty()).unwrap();
    let answer = mesh.client("reviews.shop").call(request).await.unwrap();
    answer.into_body().collect_to_bytes(10).await.unwrap();
    mesh
}

/// Waits for nobody.
async fn shut_down(mesh: &crate::Mesh) {
    mesh.drain().set_timing(crate::drain::Timing {
        unready: Duration::ZERO,
        in_flight: Duration::ZERO,
    });
    mesh.shutdown().await;
}

fn one_thread(program: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(program);
}

#[test]
fn a_program_of_one_thread_that_drops_its_mesh_loses_no_span() {
    let (url, posted) = collector_elsewhere();
    one_thread(async {
        drop(called(&url).await);
    });
    let all = posted.lock().unwrap().clone();
    println!("{} exports when the program is over", all.len());
    assert!(holds(&all, b"/last-one") && holds(&all, b"mesh.attempt"));
}

#[test]
fn a_mesh_that_was_shut_down_has_sent_its_spans() {
    let (url, posted) = collector_elsewhere();
    one_thread(async {
        let mesh = called(&url).await;
        shut_down(&mesh).await;
        // The mesh is still here: what follows may be `exit`.
        let all = posted.lock().unwrap().clone();
        println!("{} exports when the mesh is shut down", all.len());
        assert!(holds(&all, b"/last-one") && holds(&all, b"mesh.attempt"));
    });
}

#[test]
fn a_collector_that_does_not_answer_holds_up_the_end_once() {
    // Takes connections, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let began = Instant::now();
    one_thread(async {
        let mesh = called(&url).await;
        shut_down(&mesh).await;
        let shut = began.elapsed();
        let tracing = mesh.recorder().tracing().clone();
        tracing.end();
        println!("shut down in {shut:.1?}, over in {:.1?}", began.elapsed());
    });
    let took = began.elapsed();
    assert!(
        took > Duration::from_secs(2) && took < Duration::from_secs(5),
        "{took:?}"
    );
}
