use std::time::Duration;

use mesh_core::report::EndpointHealth;
use mesh_tower::stack::{CLIENT_ORDER, names};
use mesh_tower::testkit::{Reply, TestNet};

use crate::support::{call, code, edge, get, grpc, status};

#[tokio::test(start_paused = true)]
async fn a_built_stack_is_in_the_order_of_the_table() {
    let net = TestNet::new();
    let mesh = net.mesh("web").build().unwrap();
    assert_eq!(mesh.client("reviews").describe(), names(CLIENT_ORDER));
    assert_eq!(mesh.proxy_client().describe(), names(CLIENT_ORDER));
}

#[tokio::test(start_paused = true)]
async fn a_call_reaches_an_endpoint_and_is_reported_once() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.answer(200, "hello");
    let mesh = net
        .mesh("web")
        .endpoints("reviews", [one.addr()])
        .build()
        .unwrap();
    let client = mesh.client("reviews");
    assert_eq!(status(&client, get("/7")).await.unwrap(), 200);
    assert_eq!(one.seen()[0].header("host"), "reviews.default");
    assert!(one.seen()[0].header("traceparent").starts_with("00-"));
    let left: u64 = one.seen()[0].header("x-mesh-timeout-ms").parse().unwrap();
    assert!((14_000..=15_000).contains(&left), "{left}");

    let edge = edge(&mesh);
    assert_eq!(
        (edge.to.as_str(), edge.calls, edge.failures),
        ("default/reviews", 1, 0)
    );
    assert!(!edge.mtls);
    assert!(
        mesh.report().edges.is_empty(),
        "a report holds each call once"
    );
    let text = mesh.metrics_text();
    assert!(text.contains("mesh_calls_total"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_nobody_knows_fails_at_once_and_with_its_code() {
    let net = TestNet::new();
    let mesh = net.mesh("web").build().unwrap();
    let began = tokio::time::Instant::now();
    let error = call(&mesh.client("nobody.shop"), get("/"))
        .await
        .unwrap_err();
    assert_eq!(error.code().to_string(), "M2001");
    assert!(error.to_string().starts_with("nobody.shop: "), "{error}");
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(
        code(status(&mesh.client("not a name"), get("/")).await),
        "M2001"
    );
    assert_eq!(
        code(status(&mesh.proxy_client(), get("http://example.com/")).await),
        "M2001"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_grpc_call_is_answered_as_grpc() {
    let net = TestNet::new();
    let mesh = net.mesh("web").build().unwrap();
    let response = call(&mesh.client("nobody"), grpc("/shop.Reviews/Get"))
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "12");
    assert_eq!(response.headers()["mesh-reason"], "M2001");
    assert!(
        response
            .extensions()
            .get::<mesh_core::error::MeshError>()
            .is_some()
    );
}

#[tokio::test(start_paused = true)]
async fn a_proxy_client_goes_by_the_authority() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    let text = "service: shop/reviews:8080\nendpoints: { static: [{ address: '10.0.0.1:80' }] }\n";
    let mesh = net.mesh("web").policy_text(text).build().unwrap();
    let client = mesh.proxy_client();
    assert_eq!(
        status(&client, get("http://reviews.shop:8080/7"))
            .await
            .unwrap(),
        200
    );
    assert_eq!(one.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_an_endpoint_is_bounded_and_says_why() {
    let net = TestNet::new();
    let mesh = net.mesh("web").endpoints("reviews", []).build().unwrap();
    let began = tokio::time::Instant::now();
    let error = call(&mesh.client("reviews"), get("/")).await.unwrap_err();
    assert_eq!(began.elapsed().as_secs(), 5);
    assert_eq!(error.code().to_string(), "M2002");
    assert!(
        error.message().contains("no endpoint within 5.0s"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_comes_ends_the_wait() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    let mesh = net.mesh("web").endpoints("reviews", []).build().unwrap();
    let (client, feed) = (mesh.client("reviews"), mesh.feed());
    let waiting = tokio::spawn(async move { status(&client, get("/")).await });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let reviews = mesh_core::name::ServiceName::new("default", "reviews").unwrap();
    feed.endpoints(
        &reviews,
        Some(vec![mesh_core::balance::EndpointInfo::new(one.addr())]),
    );
    assert_eq!(waiting.await.unwrap().unwrap(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_says_unknown_ends_the_wait_for_a_policy() {
    let net = TestNet::new();
    let mesh = net.mesh("web").build().unwrap();
    let feed = mesh.feed();
    let client = mesh.client("reviews");
    assert!(
        feed.wanted()
            .borrow()
            .iter()
            .any(|name| name.name() == "reviews")
    );
    let began = tokio::time::Instant::now();
    let waiting = tokio::spawn(async move { status(&client, get("/")).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    feed.unknown(&mesh_core::name::ServiceName::new("default", "reviews").unwrap());
    assert_eq!(code(waiting.await.unwrap()), "M2001");
    assert_eq!(began.elapsed().as_millis(), 300);
}

#[tokio::test(start_paused = true)]
async fn a_call_over_the_ceiling_fails_with_its_code() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.reply(Reply::endless(200));
    let text = "service: shop/reviews\nendpoints: { static: [{ address: '10.0.0.1:80' }] }\n\
                backend: { ceilings: { maxRequests: 2 } }\n";
    let mesh = net.mesh("web").policy_text(text).build().unwrap();
    let client = mesh.client("reviews.shop");
    // A call is open until its body ends.
    let first = call(&client, get("/")).await.unwrap();
    let second = call(&client, get("/")).await.unwrap();
    assert_eq!(code(status(&client, get("/")).await), "M2005");
    drop(first);
    one.answer(200, "");
    assert_eq!(status(&client, get("/")).await.unwrap(), 200);
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_is_no_longer_in_flight() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.reply(Reply::hang());
    let mesh = net
        .mesh("web")
        .endpoints("reviews", [one.addr()])
        .build()
        .unwrap();
    let client = mesh.client("reviews");
    let hanging = tokio::spawn(async move { status(&client, get("/")).await });
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(mesh.report().endpoints[0].in_flight, 1);
    hanging.abort();
    assert!(hanging.await.unwrap_err().is_cancelled());
    assert_eq!(mesh.report().endpoints[0].in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_in_flight_until_its_body_is_dropped() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.reply(Reply::endless(200));
    let mesh = net
        .mesh("web")
        .endpoints("reviews", [one.addr()])
        .build()
        .unwrap();
    let response = call(&mesh.client("reviews"), get("/")).await.unwrap();
    assert_eq!(mesh.report().endpoints[0].in_flight, 1);
    drop(response);
    assert_eq!(mesh.report().endpoints[0].in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_ends_with_its_deadline() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.reply(Reply::hang());
    let mesh = net
        .mesh("web")
        .endpoints("reviews", [one.addr()])
        .build()
        .unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!(
        code(status(&mesh.client("reviews"), get("/")).await),
        "M2008"
    );
    assert_eq!(began.elapsed().as_secs(), 15);
    let report = mesh.report();
    assert_eq!(report.edges[0].codes["M2008"], 1);
    assert_eq!(
        report.endpoints[0].failures, 1,
        "too slow for its caller is a failure"
    );
}

#[tokio::test(start_paused = true)]
async fn an_attempt_timeout_counts_against_the_endpoint() {
    let net = TestNet::new();
    let slow = net.endpoint("10.0.0.1:80");
    let good = net.endpoint("10.0.0.2:80");
    slow.reply(Reply::hang());
    let text = "service: shop/reviews\n\
                endpoints: { static: [{ address: '10.0.0.1:80' }, { address: '10.0.0.2:80' }] }\n\
                route: [{ timeout: 2s, attemptTimeout: 100ms, retry: { attempts: 1, codes: [503] } }]\n\
                backend: { loadBalancing: { algorithm: RoundRobin } }\n";
    let mesh = net.mesh("web").policy_text(text).build().unwrap();
    let client = mesh.client("reviews.shop");
    for _ in 0..30 {
        assert_eq!(status(&client, get("/")).await.unwrap(), 200);
    }
    let report = mesh.report();
    let of_slow = report
        .endpoints
        .iter()
        .find(|one| one.addr == slow.addr())
        .unwrap();
    assert_eq!(of_slow.state, EndpointHealth::Ejected, "{report:?}");
    assert_eq!(of_slow.last_code.as_deref(), Some("M2009"));
    assert!(good.calls() > slow.calls());
}

#[tokio::test(start_paused = true)]
async fn a_flaky_endpoint_is_taken_out_and_nobody_notices() {
    let net = TestNet::new();
    let flaky = net.endpoint("10.0.0.1:80");
    flaky.answer(503, "");
    let addrs: Vec<_> = ["10.0.0.2:80", "10.0.0.3:80"]
        .map(|a| net.endpoint(a).addr())
        .into();
    let text = "service: shop/reviews\n\
                route: [{ retry: { attempts: 2, codes: [503] } }]\n\
                backend: { loadBalancing: { algorithm: RoundRobin } }\n";
    let mesh = net
        .mesh("web")
        .policy_text(text)
        .endpoints("reviews.shop", [flaky.addr(), addrs[0], addrs[1]])
        .build()
        .unwrap();
    let client = mesh.client("reviews.shop");
    for _ in 0..60 {
        assert_eq!(status(&client, get("/")).await.unwrap(), 200);
    }
    assert_eq!(flaky.calls(), 5, "five failures in a row take it out");
    let edge = edge(&mesh);
    assert_eq!(
        (edge.calls, edge.failures, edge.retries, edge.rescued),
        (60, 0, 5, 5)
    );
    // A probe brings it back once its time is up and it works again.
    flaky.answer(200, "");
    tokio::time::sleep(Duration::from_secs(31)).await;
    for _ in 0..200 {
        assert_eq!(status(&client, get("/")).await.unwrap(), 200);
    }
    assert!(flaky.calls() > 6, "{}", flaky.calls());
}

#[tokio::test(start_paused = true)]
async fn a_grpc_status_in_trailers_counts_against_the_endpoint() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.reply(Reply::grpc(14));
    let mesh = net
        .mesh("web")
        .endpoints("reviews", [one.addr()])
        .build()
        .unwrap();
    let response = call(&mesh.client("reviews"), grpc("/shop.Reviews/Get"))
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().collect_to_bytes(100).await.unwrap();
    let report = mesh.report();
    assert_eq!(report.edges[0].codes["grpc-14"], 1, "{report:?}");
    assert_eq!(report.endpoints[0].failures, 1);
    one.reply(Reply::grpc(0));
    let response = call(&mesh.client("reviews"), grpc("/shop.Reviews/Get"))
        .await
        .unwrap();
    response.into_body().collect_to_bytes(100).await.unwrap();
    assert_eq!(mesh.report().edges[0].failures, 0);
}
