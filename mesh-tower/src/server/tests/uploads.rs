//! A callee's limits are for its answer: they count from the last piece of the request.

use http_body_util::StreamBody;
use tokio::time::{Instant, sleep};
use tower::{ServiceExt as _, service_fn};
use tower_layer::Layer as _;

use super::*;

/// A piece every half second.
fn upload(pieces: u32, name: &str, value: &str) -> Request<MeshBody> {
    let stream = futures_util::stream::unfold(0, move |sent| async move {
        if sent == pieces {
            return None;
        }
        sleep(Duration::from_millis(500)).await;
        let piece = http_body::Frame::data(Bytes::from_static(b"piece"));
        Some((Ok::<_, Infallible>(piece), sent + 1))
    });
    Request::post("/upload")
        .header(
            "content-type",
            if name == "grpc-timeout" {
                "application/grpc"
            } else {
                "text/plain"
            },
        )
        .header(name, value)
        .body(MeshBody::new(StreamBody::new(stream)))
        .unwrap()
}

/// Reads all of it, and then takes its time.
async fn thanks(
    request: Request<MeshBody>,
    work: Duration,
) -> Result<Response<MeshBody>, Infallible> {
    let read = request.into_body().collect().await.unwrap().to_bytes();
    sleep(work).await;
    Ok(Response::new(MeshBody::full(read)))
}

async fn asked(request: Request<MeshBody>, work: Duration) -> (String, Duration) {
    let mesh = mesh();
    let server = mesh
        .server_layer()
        .layer(service_fn(move |request| thanks(request, work)));
    let began = Instant::now();
    let answer = server.oneshot(request).await.unwrap();
    let grpc = answer.headers().get("grpc-status");
    let status = grpc.map(|code| code.to_str().unwrap().to_owned());
    let status = status.unwrap_or_else(|| answer.status().as_str().to_owned());
    (status, began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_callers_timeout_counts_from_the_last_piece_of_its_upload() {
    let limit = ("x-mesh-timeout-ms", "2000");
    for (work, expected, seconds) in [(1_900, "200", 61), (10_000, "504", 62)] {
        let request = upload(120, limit.0, limit.1);
        let (status, took) = asked(request, Duration::from_millis(work)).await;
        assert_eq!((status.as_str(), took.as_secs()), (expected, seconds));
    }
}

#[tokio::test(start_paused = true)]
async fn a_callers_grpc_deadline_does_not_move() {
    let request = upload(120, "grpc-timeout", "2S");
    let (status, took) = asked(request, Duration::ZERO).await;
    assert_eq!((status.as_str(), took.as_secs()), ("4", 2));
}

#[tokio::test(start_paused = true)]
async fn the_callees_own_timeout_counts_from_the_last_piece_too() {
    let layer = crate::timeout::inbound::InboundTimeoutLayer::new(Some(Duration::from_secs(2)));
    let trace = crate::trace::inbound::InboundTraceLayer::new(Default::default());
    for (work, is_ok, seconds) in [(1_900, true, 61), (10_000, false, 62)] {
        let work = Duration::from_millis(work);
        let service = service_fn(move |request| thanks(request, work));
        let service = trace.layer(layer.layer(service));
        let began = Instant::now();
        let answer = service.oneshot(upload(120, "x-a", "b")).await;
        assert_eq!(answer.is_ok(), is_ok);
        assert_eq!(began.elapsed().as_secs(), seconds);
    }
}
