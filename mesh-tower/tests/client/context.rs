use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mesh_core::context::RequestContext;
use mesh_core::deadline::{parse_grpc_timeout, parse_timeout_ms};
use mesh_tower::context::{self, CallContext};
use mesh_tower::testkit::{Reply, TestEndpoint, TestNet};
use mesh_tower::{Mesh, MeshBody, MeshClient};
use tower::ServiceBuilder;

use crate::support::{call, code, get, status};

fn serving() -> RequestContext {
    RequestContext::start(&mut fastrand::Rng::with_seed(1))
}

/// A service whose only endpoint never answers.
fn hanging(net: &TestNet) -> (Mesh, TestEndpoint, MeshClient) {
    let one = net.endpoint("10.0.0.1:80");
    one.reply(Reply::hang());
    let mesh = net.mesh("web").endpoints("reviews", [one.addr()]);
    let mesh = mesh.build().unwrap();
    let client = mesh.client("reviews");
    (mesh, one, client)
}

#[tokio::test(start_paused = true)]
async fn a_call_inherits_deadline_and_trace_of_the_request_being_served() {
    let net = TestNet::new();
    let (_mesh, one, client) = hanging(&net);
    let mut served = serving();
    let began = tokio::time::Instant::now();
    served.deadline = Some(began.into_std() + Duration::from_millis(700));
    let trace = served.trace.traceparent().trace_id().to_owned();
    let result = context::scope(served, status(&client, get("/"))).await;
    assert_eq!(code(result), "M2008");
    assert_eq!(began.elapsed().as_millis(), 695, "5 ms for the way back");
    assert!(one.seen()[0].header("traceparent").contains(&trace));
    assert_eq!(one.seen()[0].header("x-mesh-timeout-ms"), "695");
}

#[tokio::test(start_paused = true)]
async fn each_hop_waits_a_margin_less_than_its_caller_over_http_and_grpc() {
    let net = TestNet::new();
    let (_mesh, one, client) = hanging(&net);
    for (left, sent, waited) in [
        (Some(700), 695, 695),
        (Some(20), 18, 18),     // A tenth of what is short.
        (None, 15_000, 15_000), // Nobody waits: the default, whole.
    ] {
        for grpc in [false, true] {
            let mut served = serving();
            let began = tokio::time::Instant::now();
            served.deadline = left.map(|ms| began.into_std() + Duration::from_millis(ms));
            let mut request = get("/");
            if grpc {
                let kind = http::HeaderValue::from_static("application/grpc");
                request.headers_mut().insert("content-type", kind);
            }
            let result = context::scope(served, call(&client, request)).await;
            match result {
                Ok(answer) => assert_eq!(answer.headers()["grpc-status"], "4"),
                Err(error) => assert!(!grpc && error.code().to_string() == "M2008"),
            }
            assert_eq!(began.elapsed().as_millis(), waited, "{left:?} {grpc}");
            let seen = one.seen();
            let last = seen.last().unwrap();
            // A limit of ours is none for a whole stream.
            let told = match grpc && left.is_some() {
                true => parse_grpc_timeout(last.header("grpc-timeout")),
                false => parse_timeout_ms(last.header("x-mesh-timeout-ms")),
            };
            assert_eq!(told, Some(Duration::from_millis(sent)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_after_the_deadline_is_not_made() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    let mesh = net
        .mesh("web")
        .endpoints("reviews", [one.addr()])
        .build()
        .unwrap();
    let mut served = serving();
    served.deadline = Some(tokio::time::Instant::now().into_std());
    tokio::time::sleep(Duration::from_millis(1)).await;
    let result = context::scope(served, status(&mesh.client("reviews"), get("/"))).await;
    assert_eq!(code(result), "M2008");
    assert_eq!(one.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_came_as_a_retry_is_not_retried_further_down() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.answer(503, "");
    let text = "service: shop/reviews\nroute: [{ retry: { attempts: 2, codes: [503] } }]\n";
    let mesh = net
        .mesh("web")
        .policy_text(text)
        .endpoints("reviews.shop", [one.addr()])
        .build()
        .unwrap();
    let mut served = serving();
    served.attempt = 1;
    let result = context::scope(served, status(&mesh.client("reviews.shop"), get("/"))).await;
    assert_eq!(result.unwrap(), 503);
    assert_eq!(one.calls(), 1);
    assert_eq!(one.seen()[0].header("x-mesh-attempt"), "2");
}

/// A body that is none of the mesh's own.
fn wrapped(body: MeshBody) -> MeshBody {
    MeshBody::new(http_body_util::combinators::UnsyncBoxBody::new(body))
}

#[tokio::test(start_paused = true)]
async fn a_users_layer_sees_the_call_and_may_replace_the_body_at_any_seam() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.once(Reply::new(503, ""));
    one.answer(200, "done");
    let text = "service: shop/reviews\nroute: [{ retry: { attempts: 1, codes: [503] } }]\n";
    let seen = Arc::new(AtomicUsize::new(0));
    let layer = || {
        let seen = seen.clone();
        ServiceBuilder::new()
            .map_request(move |request: http::Request<MeshBody>| {
                assert!(CallContext::get(&request).is_some());
                seen.fetch_add(1, Ordering::SeqCst);
                request.map(wrapped)
            })
            .map_response(|response: http::Response<MeshBody>| response.map(wrapped))
            .into_inner()
    };
    let mesh = net
        .mesh("web")
        .policy_text(text)
        .endpoints("reviews.shop", [one.addr()])
        .layer_logical(layer())
        .layer_attempt(layer())
        .layer_endpoint(layer())
        .build()
        .unwrap();
    let client = mesh.client("reviews.shop");
    let put = http::Request::put("/").body(MeshBody::full("hello"));
    assert_eq!(status(&client, put.unwrap()).await.unwrap(), 200);
    // Once for the call, and twice at each of the seams below retry.
    assert_eq!(seen.load(Ordering::SeqCst), 5);
    let requests = one.seen();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert_eq!(request.body, "hello");
        assert!(!request.header("traceparent").is_empty());
    }
    assert_eq!(requests[1].header("x-mesh-attempt"), "2");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_holds_after_an_attempt_whose_timer_came_first() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.reply(Reply::hang());
    let text = "service: shop/reviews\nroute: [{ timeout: 2s, attemptTimeout: 100ms, \
                retry: { attempts: 1, codes: [503] } }]\n";
    let mesh = net
        .mesh("web")
        .policy_text(text)
        .endpoints("reviews.shop", [one.addr()])
        .build()
        .unwrap();
    let mut served = serving();
    let began = tokio::time::Instant::now();
    served.deadline = Some(began.into_std() + Duration::from_millis(180));
    let result = context::scope(served, status(&mesh.client("reviews.shop"), get("/"))).await;
    assert_eq!(code(result), "M2008");
    assert_eq!(began.elapsed().as_millis(), 175, "5 ms for the way back");
    assert_eq!(one.calls(), 2);
}
