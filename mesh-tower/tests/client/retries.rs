use std::time::Duration;

use http::HeaderValue;
use mesh_tower::testkit::{Reply, TestNet};

use crate::support::{call, code, edge, get, grpc, post, status};

const RETRY: &str = "service: shop/reviews\n\
    route: [{ retry: { attempts: 2, codes: [503] } }]\n\
    backend: { loadBalancing: { algorithm: RoundRobin } }\n";

fn two(net: &TestNet) -> [mesh_tower::testkit::TestEndpoint; 2] {
    ["10.0.0.1:80", "10.0.0.2:80"].map(|addr| net.endpoint(addr))
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_an_answer_is_an_answer() {
    let net = TestNet::new();
    let [one, two] = two(&net);
    one.answer(503, "");
    two.answer(503, "");
    let mesh = net
        .mesh("web")
        .endpoints("reviews", [one.addr(), two.addr()])
        .build()
        .unwrap();
    assert_eq!(
        status(&mesh.client("reviews"), get("/")).await.unwrap(),
        503
    );
    assert_eq!(one.calls() + two.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_what_was_never_sent_goes_to_another_endpoint() {
    let net = TestNet::new();
    let [one, two] = two(&net);
    one.kill();
    let turns = "service: shop/reviews\nbackend: { loadBalancing: { algorithm: RoundRobin } }\n";
    let mesh = net
        .mesh("web")
        .policy_text(turns)
        .endpoints("reviews.shop", [one.addr(), two.addr()])
        .build()
        .unwrap();
    let client = mesh.client("reviews.shop");
    for _ in 0..10 {
        // Not idempotent, and still safe.
        assert_eq!(status(&client, post("/", "x")).await.unwrap(), 200);
    }
    assert_eq!(two.calls(), 10);
    let edge = edge(&mesh);
    assert_eq!(edge.failures, 0);
    assert!(edge.rescued >= 1, "{:?}", (one.connects(), edge.retries));
}

#[tokio::test(start_paused = true)]
async fn when_all_endpoints_refuse_the_error_tells_the_story() {
    let net = TestNet::new();
    let [one, two] = two(&net);
    one.kill();
    two.kill();
    let mesh = net
        .mesh("web")
        .endpoints("reviews", [one.addr(), two.addr()])
        .build()
        .unwrap();
    let error = call(&mesh.client("reviews"), get("/")).await.unwrap_err();
    assert_eq!(error.code().to_string(), "M2003");
    assert_eq!(error.attempts().len(), 3, "{error:#}");
    assert!(error.to_string().contains("3 tried"), "{error}");
    let addrs: Vec<_> = error
        .attempts()
        .iter()
        .map(|one| one.endpoint.unwrap())
        .collect();
    assert_ne!(addrs[0], addrs[1], "another attempt is another endpoint");
}

#[tokio::test(start_paused = true)]
async fn a_route_repeats_listed_codes_of_idempotent_methods_only() {
    for (method, reply, attempts, expected) in [
        ("GET", 503, 3, 503),
        ("GET", 500, 1, 500),
        ("GET", 404, 1, 404),
        ("PUT", 503, 3, 503),
        ("POST", 503, 1, 503),
    ] {
        let net = TestNet::new();
        let [one, two] = two(&net);
        one.answer(reply, "");
        two.answer(reply, "");
        let mesh = net
            .mesh("web")
            .policy_text(RETRY)
            .endpoints("reviews.shop", [one.addr(), two.addr()])
            .build()
            .unwrap();
        let mut request = get("/");
        *request.method_mut() = method.parse().unwrap();
        let status = status(&mesh.client("reviews.shop"), request).await.unwrap();
        assert_eq!(status, expected, "{method} {reply}");
        assert_eq!(one.calls() + two.calls(), attempts, "{method} {reply}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_callees_mesh_says_what_became_of_a_call() {
    let retry = "route: [{ retry: { attempts: 2, codes: [500] } }]\n";
    for (header, value, method, policy, again) in [
        // Nobody has worked on it: any call goes elsewhere, without a policy too.
        ("x-mesh-outcome", "unprocessed", "POST", "", true),
        ("x-mesh-outcome", "unreached", "POST", "", true),
        // The application broke off: as if it had done so to the caller.
        ("x-mesh-outcome", "broken", "GET", "", false),
        ("x-mesh-outcome", "broken", "GET", retry, true),
        ("x-mesh-outcome", "broken", "POST", retry, false),
        // A code says what failed, and a handler may have copied it from an answer to a call of its own.
        ("mesh-reason", "M2014", "POST", "", false),
        ("mesh-reason", "M2015", "POST", retry, false),
    ] {
        let net = TestNet::new();
        let [one, two] = two(&net);
        let name = http::HeaderName::from_static(header);
        let value = HeaderValue::from_static(value);
        for endpoint in [&one, &two] {
            endpoint.reply(Reply::new(503, "").header(name.clone(), value.clone()));
        }
        let text = format!("service: shop/reviews\n{policy}");
        let mesh = net
            .mesh("web")
            .policy_text(&text)
            .endpoints("reviews.shop", [one.addr(), two.addr()])
            .build()
            .unwrap();
        let mut request = get("/");
        *request.method_mut() = method.parse().unwrap();
        let status = status(&mesh.client("reviews.shop"), request).await;
        let case = format!("{header}: {value:?}, {method}, policy {policy:?}");
        assert_eq!(status.unwrap(), 503, "{case}");
        assert_eq!(one.calls() + two.calls() > 1, again, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_carry_their_number_and_spans_of_their_own() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.once(Reply::new(503, ""));
    let mesh = net
        .mesh("web")
        .policy_text(RETRY)
        .endpoints("reviews.shop", [one.addr()])
        .build()
        .unwrap();
    assert_eq!(
        status(&mesh.client("reviews.shop"), get("/"))
            .await
            .unwrap(),
        200
    );
    let seen = one.seen();
    assert_eq!(seen[0].header("x-mesh-attempt"), "");
    assert_eq!(seen[1].header("x-mesh-attempt"), "2");
    let [a, b] = [seen[0].header("traceparent"), seen[1].header("traceparent")];
    assert_eq!(a[..35], b[..35], "one trace");
    assert_ne!(a[36..52], b[36..52], "two spans");
}

#[tokio::test(start_paused = true)]
async fn a_body_is_sent_again_up_to_64_kib() {
    for (size, expected) in [(64 * 1024, 200), (64 * 1024 + 1, 503)] {
        let net = TestNet::new();
        let one = net.endpoint("10.0.0.1:80");
        one.once(Reply::new(503, ""));
        let mesh = net
            .mesh("web")
            .policy_text(RETRY)
            .endpoints("reviews.shop", [one.addr()])
            .build()
            .unwrap();
        let mut request = post("/", vec![b'x'; size]);
        *request.method_mut() = http::Method::PUT;
        assert_eq!(
            status(&mesh.client("reviews.shop"), request).await.unwrap(),
            expected
        );
        assert!(one.seen().iter().all(|seen| seen.body.len() == size));
        let counted = mesh
            .metrics_text()
            .contains("mesh_retry_body_too_large_total{service=\"shop/reviews\"} 1");
        assert_eq!(counted, expected == 503);
    }
}

#[tokio::test(start_paused = true)]
async fn a_trailers_only_grpc_status_is_repeated_and_a_late_one_is_not() {
    for (reply, calls) in [(Reply::grpc_only(14), 3), (Reply::grpc(14), 1)] {
        let net = TestNet::new();
        let one = net.endpoint("10.0.0.1:80");
        one.reply(reply);
        let text = "service: shop/reviews\n\
            route: [{ retry: { attempts: 2, codes: [503], nonIdempotent: Allow } }]\n";
        let mesh = net
            .mesh("web")
            .policy_text(text)
            .endpoints("reviews.shop", [one.addr()])
            .build()
            .unwrap();
        let response = call(&mesh.client("reviews.shop"), grpc("/a.B/C"))
            .await
            .unwrap();
        response.into_body().collect_to_bytes(100).await.unwrap();
        assert_eq!(one.calls(), calls);
        if calls > 1 {
            assert_eq!(one.seen()[1].header("grpc-previous-rpc-attempts"), "1");
        }
        assert!(one.seen()[0].header("x-mesh-timeout-ms").len() > 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pushback_is_obeyed() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    let wait = HeaderValue::from_static("3");
    one.once(Reply::new(503, "").header(http::header::RETRY_AFTER, wait));
    let mesh = net
        .mesh("web")
        .policy_text(RETRY)
        .endpoints("reviews.shop", [one.addr()])
        .build()
        .unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!(
        status(&mesh.client("reviews.shop"), get("/"))
            .await
            .unwrap(),
        200
    );
    assert!(
        began.elapsed() >= Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn an_empty_budget_stops_retries() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.answer(503, "");
    let text = "service: shop/reviews\n\
        route: [{ retry: { attempts: 2, codes: [503] } }]\n\
        backend: { retryBudget: { percent: 20, interval: 10s, minRetriesPerSecond: 1 } }\n";
    let mesh = net
        .mesh("web")
        .policy_text(text)
        .endpoints("reviews.shop", [one.addr()])
        .build()
        .unwrap();
    let clients = [mesh.client("reviews.shop"), mesh.client("reviews.shop:80")];
    let began = tokio::time::Instant::now();
    for ix in 0..100 {
        let _ = code(status(&clients[ix % 2], get("/")).await);
    }
    // All clones and clients of a destination share: 20 % of 100 and ten of the reserve, and what
    // the pauses between attempts let expire.
    let retries = edge_sum(&mesh);
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!((10..=30).contains(&retries), "{retries}");
    assert!(mesh.metrics_text().contains("mesh_budget_exhausted_total"));
}

#[tokio::test(start_paused = true)]
async fn what_an_endpoint_refused_goes_to_another_one_although_the_budget_is_empty() {
    let net = TestNet::new();
    let [one, two] = two(&net);
    let text = "service: shop/reviews\n\
        backend: { loadBalancing: { algorithm: RoundRobin }, \
        retryBudget: { percent: 0, minRetriesPerSecond: 0 } }\n";
    let mesh = net
        .mesh("web")
        .policy_text(text)
        .endpoints("reviews.shop", [one.addr(), two.addr()])
        .build()
        .unwrap();
    let client = mesh.client("reviews.shop");
    assert_eq!(status(&client, get("/")).await.unwrap(), 200);
    one.kill();
    for _ in 0..60 {
        assert_eq!(status(&client, post("/", "x")).await.unwrap(), 200);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let rescued = edge(&mesh).rescued;
    // The first refusal, and the probes after pauses that double from 250 ms up to 5 s.
    assert!((5..=15).contains(&rescued), "{rescued}");
    let text = mesh.metrics_text();
    let none = "mesh_budget_exhausted_total{service=\"shop/reviews\"} 0\n";
    assert!(text.contains(none), "{text}");

    // With nowhere to go it is the budget that counts.
    two.kill();
    let error = call(&client, get("/")).await.unwrap_err();
    assert_eq!(error.code().to_string(), "M2010", "{error:#}");
}

fn edge_sum(mesh: &mesh_tower::Mesh) -> u64 {
    mesh.report().edges.iter().map(|edge| edge.retries).sum()
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_deadline_leaves_no_room_for_another_attempt() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.reply(Reply::new(503, "").after(Duration::from_millis(900)));
    let text = "service: shop/reviews\n\
        route: [{ timeout: 1s, retry: { attempts: 2, codes: [503], backoff: 200ms } }]\n";
    let mesh = net
        .mesh("web")
        .policy_text(text)
        .endpoints("reviews.shop", [one.addr()])
        .build()
        .unwrap();
    let client = mesh.client("reviews.shop");
    for _ in 0..5 {
        assert_eq!(
            status(&client, get("/")).await.map_err(|e| e.code()),
            Ok(503)
        );
    }
    assert!(one.calls() <= 10);
}
