//! Timeouts are for the answer: while the request is still on its way, they have not begun.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::StreamBody;
use mesh_core::context::RequestContext;
use mesh_tower::testkit::{Reply, TestNet};
use mesh_tower::{MeshBody, context};
use tokio::time::{Instant, sleep};

use crate::support::{call, code, status, under};

const ROUTE: &str = "service: shop/reviews\nendpoints: { static: [{ address: \"10.0.0.1:80\" }] }\n\
    route: [{ timeout: 2s, attemptTimeout: 1s, retry: { attempts: 1, codes: [503] } }]\n";

/// `count` pieces, one each `every` milliseconds.
fn pieces(count: u32, every: u64) -> MeshBody {
    let stream = futures_util::stream::unfold(0, move |sent| async move {
        if sent == count {
            return None;
        }
        sleep(Duration::from_millis(every)).await;
        let piece = Frame::data(Bytes::from_static(&[b'x'; 1000]));
        Some((Ok::<_, std::convert::Infallible>(piece), sent + 1))
    });
    MeshBody::new(StreamBody::new(stream))
}

fn upload(body: MeshBody) -> Request<MeshBody> {
    Request::post("/upload").body(body).unwrap()
}

#[tokio::test(start_paused = true)]
async fn gep_1742_an_upload_may_last_longer_than_the_timeouts_of_its_answer() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.reply(Reply::new(200, "thanks").after(Duration::from_millis(900)));
    let (_mesh, client) = under(&net, ROUTE);
    // 500 ms a piece: a minute for the whole, and never a second of silence.
    let began = Instant::now();
    assert_eq!(code(status(&client, upload(pieces(120, 500))).await), "200");
    assert!(began.elapsed() >= Duration::from_secs(60));
    assert_eq!((one.calls(), one.seen()[0].body.len()), (1, 120_000));
}

#[tokio::test(start_paused = true)]
async fn the_timeout_counts_from_the_last_piece() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.reply(Reply::hang());
    let (_mesh, client) = under(&net, &ROUTE.replace("attemptTimeout: 1s, ", ""));
    for (count, silence) in [(20, 500), (0, 0)] {
        let began = Instant::now();
        let result = status(&client, upload(pieces(count, silence))).await;
        let expected = Duration::from_millis(u64::from(count) * silence + 2_000);
        let late = began.elapsed().saturating_sub(expected);
        assert!(began.elapsed() >= expected && late < Duration::from_millis(5));
        let error = result.unwrap_err();
        assert_eq!(error.code().to_string(), "M2008", "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_falls_silent_is_not_waited_for() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.answer(200, "thanks");
    let (_mesh, client) = under(&net, &ROUTE.replace("attemptTimeout: 1s, ", ""));
    let began = Instant::now();
    let result = status(&client, upload(pieces(3, 2_500))).await;
    assert_eq!(code(result), "M2008");
    assert_eq!(began.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_grpc_deadline_holds_whatever_is_sent() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.reply(Reply::grpc(0));
    let (_mesh, client) = under(&net, &ROUTE.replace("attemptTimeout: 1s, ", ""));
    let mut request = upload(pieces(20, 500));
    let headers = request.headers_mut();
    headers.insert("content-type", "application/grpc".parse().unwrap());
    headers.insert("grpc-timeout", "1500m".parse().unwrap());
    let began = Instant::now();
    let answer = call(&client, request).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "4");
    assert_eq!(began.elapsed().as_millis(), 1_500);
}

#[tokio::test(start_paused = true)]
async fn a_call_made_for_a_request_inherits_its_deadline_fixed_or_not() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.answer(200, "thanks");
    let (_mesh, client) = under(&net, &ROUTE.replace("attemptTimeout: 1s, ", ""));
    for (is_fixed, expected) in [(true, "M2008"), (false, "200")] {
        let mut served = RequestContext::start(&mut fastrand::Rng::with_seed(1));
        served.is_fixed = is_fixed;
        served.deadline = Some(Instant::now().into_std() + Duration::from_millis(1_500));
        let call = status(&client, upload(pieces(20, 500)));
        assert_eq!(code(context::scope(served, call).await), expected);
    }
}
