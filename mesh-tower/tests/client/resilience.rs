//! Breaker, throttle, hedging and chain stop through the assembled client.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use mesh_core::context::RequestContext;
use mesh_core::policy::text::{Source, load};
use mesh_core::policy::{HedgePolicy, Layer, ThrottlePolicy};
use mesh_tower::hedge::HedgeLayer;
use mesh_tower::testkit::sim::{self, Behaviour, Load, Scenario};
use mesh_tower::testkit::{Reply, TestEndpoint, TestNet};
use mesh_tower::throttle::ThrottleLayer;
use mesh_tower::{Mesh, MeshClient, context};
use tower_layer::Layer as _;
use tower_service::Service as _;

use crate::support::{call, code, get, grpc, post, status};

const MS: Duration = Duration::from_millis(1);

fn endpoints(net: &TestNet, count: usize) -> Vec<TestEndpoint> {
    (1..=count)
        .map(|n| net.endpoint(&format!("10.0.0.{n}:80")))
        .collect()
}

fn mesh(net: &TestNet, all: &[TestEndpoint], policy: &str) -> (Mesh, MeshClient) {
    let text = format!("service: shop/reviews\n{policy}\n");
    let mesh = net
        .mesh("web")
        .policy_text(&text)
        .endpoints("reviews.shop", all.iter().map(TestEndpoint::addr))
        .build()
        .unwrap();
    let client = mesh.client("reviews.shop");
    (mesh, client)
}

fn said(mesh: &Mesh, line: &str) -> bool {
    mesh.metrics_text().lines().any(|one| one.starts_with(line))
}

// === breaker ===

const BREAKER: &str = "backend: { breaker: { window: 10, minimumCalls: 10, openFor: 10s, halfOpenCalls: 2 }, \
    outlierDetection: { consecutiveErrors: 0, failurePercent: 0 } }";

#[tokio::test(start_paused = true)]
async fn an_open_breaker_refuses_without_a_call_and_closes_when_the_service_is_well() {
    let net = TestNet::new();
    let all = endpoints(&net, 1);
    let (mesh, client) = mesh(&net, &all, BREAKER);
    all[0].answer(500, "");
    for _ in 0..10 {
        assert_eq!(status(&client, get("/")).await.unwrap(), 500);
    }
    let error = call(&client, get("/")).await.unwrap_err();
    assert_eq!(error.code().to_string(), "M2004", "{error:#}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(10)));
    assert_eq!(all[0].calls(), 10, "nothing was sent");
    assert!(
        said(
            &mesh,
            "mesh_breaker_opened_total{reason=\"failures\",service=\"shop/reviews\"} 1"
        ) || said(
            &mesh,
            "mesh_breaker_opened_total{service=\"shop/reviews\",reason=\"failures\"} 1"
        ),
        "{}",
        mesh.metrics_text()
    );
    assert!(said(
        &mesh,
        "mesh_breaker_state{service=\"shop/reviews\"} 2"
    ));
    assert!(said(
        &mesh,
        "mesh_breaker_refused_total{service=\"shop/reviews\"} 1"
    ));
    let report = mesh.report();
    let reason = report.endpoints[0].reason.as_deref().unwrap_or_default();
    assert!(
        reason.starts_with("the breaker is open for another 10s"),
        "{reason}"
    );

    tokio::time::sleep(Duration::from_secs(10)).await;
    all[0].answer(200, "");
    for _ in 0..2 {
        assert_eq!(status(&client, get("/")).await.unwrap(), 200);
    }
    assert!(said(
        &mesh,
        "mesh_breaker_state{service=\"shop/reviews\"} 0"
    ));
}

#[tokio::test(start_paused = true)]
async fn a_half_open_place_is_held_until_the_body_has_ended() {
    let net = TestNet::new();
    let all = endpoints(&net, 1);
    let (mesh, client) = mesh(&net, &all, BREAKER);
    all[0].answer(500, "");
    for _ in 0..10 {
        status(&client, get("/")).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    all[0].reply(Reply::endless(200));
    let first = call(&client, get("/")).await.unwrap();
    let second = call(&client, get("/")).await.unwrap();
    let refused = call(&client, get("/")).await.unwrap_err();
    assert_eq!(refused.code().to_string(), "M2004", "both places are taken");
    let state = |number: u32| format!("mesh_breaker_state{{service=\"shop/reviews\"}} {number}");
    assert!(!said(&mesh, &state(0)), "nothing is known of them");
    drop((first, second));
    assert!(said(&mesh, &state(0)), "what came of both was good");
}

#[tokio::test(start_paused = true)]
async fn a_half_open_call_that_is_cancelled_gives_its_place_back() {
    let net = TestNet::new();
    let all = endpoints(&net, 1);
    let (_mesh, client) = mesh(&net, &all, BREAKER);
    all[0].answer(500, "");
    for _ in 0..10 {
        status(&client, get("/")).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    all[0].reply(Reply::hang());
    for _ in 0..20 {
        let call = tokio::time::timeout(50 * MS, call(&client, get("/"))).await;
        assert!(call.is_err(), "let through: {call:?}");
    }
    all[0].answer(200, "");
    for _ in 0..5 {
        assert_eq!(status(&client, get("/")).await.unwrap(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn timeouts_open_the_breaker_and_grpc_statuses_in_trailers_do() {
    let policy = format!("route: [{{ timeout: 100ms }}]\n{BREAKER}");
    let net = TestNet::new();
    let all = endpoints(&net, 1);
    let (_mesh, client) = mesh(&net, &all, &policy);
    all[0].reply(Reply::hang());
    for _ in 0..10 {
        assert_eq!(code(status(&client, get("/")).await), "M2008");
    }
    assert_eq!(code(status(&client, get("/")).await), "M2004");

    let net = TestNet::new();
    let all = endpoints(&net, 1);
    let (_mesh, client) = mesh(&net, &all, BREAKER);
    all[0].reply(Reply::grpc(13));
    for _ in 0..10 {
        status(&client, grpc("/shop.Reviews/List")).await.unwrap();
    }
    let response = call(&client, grpc("/shop.Reviews/List")).await.unwrap();
    assert_eq!(response.headers()["mesh-reason"], "M2004");
    assert_eq!(all[0].calls(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_changed_policy_keeps_what_the_breaker_has_counted() {
    let net = TestNet::new();
    let all = endpoints(&net, 1);
    let (mesh, client) = mesh(&net, &all, BREAKER);
    all[0].answer(500, "");
    for _ in 0..9 {
        status(&client, get("/")).await.unwrap();
    }
    let changed = BREAKER.replace("openFor: 10s", "openFor: 20s");
    let text = format!("service: shop/reviews\n{changed}\n");
    let loaded = load(&[Source::new("test.yaml", text.as_str())]);
    mesh.store().apply(Layer::Code, loaded.resources).unwrap();
    tokio::time::sleep(MS).await;
    assert_eq!(status(&client, get("/")).await.unwrap(), 500);
    let error = call(&client, get("/")).await.unwrap_err();
    assert_eq!(
        error.retry_after(),
        Some(Duration::from_secs(20)),
        "{error}"
    );
}

// === throttle ===

#[tokio::test(start_paused = true)]
async fn a_client_that_is_refused_as_overload_holds_calls_back() {
    let net = TestNet::new();
    let all = endpoints(&net, 1);
    let (_mesh, client) = mesh(&net, &all, "");
    all[0].reply(Reply::new(429, ""));
    let mut held = ThrottleLayer::new(&ThrottlePolicy::default()).layer(client.clone());
    let mut refused = 0;
    for _ in 0..1000 {
        match held.call(get("/")).await {
            Ok(response) => assert_eq!(response.status(), 429),
            Err(error) => {
                assert_eq!(error.code().to_string(), "M2006");
                assert!(error.flags().never_sent && error.retry_after().is_some());
                refused += 1;
            }
        }
    }
    assert!((700..=930).contains(&refused), "{refused}");
    assert_eq!(all[0].calls() + refused, 1000);

    // A failure that is not an overload is no reason to hold back.
    let other = endpoints(&TestNet::new(), 0);
    assert!(other.is_empty());
    let net = TestNet::new();
    let all = endpoints(&net, 1);
    let (_mesh, client) = mesh(&net, &all, "");
    all[0].answer(500, "");
    let mut held = ThrottleLayer::new(&ThrottlePolicy::default()).layer(client);
    for _ in 0..200 {
        assert_eq!(held.call(get("/")).await.unwrap().status(), 500);
    }
}

// === hedging ===

const HEDGE: &str = "backend: { hedging: { delay: 20ms, maxExtraPercent: 100 }, \
    loadBalancing: { algorithm: RoundRobin } }";

#[tokio::test(start_paused = true)]
async fn a_second_attempt_goes_elsewhere_and_the_loser_is_cancelled() {
    let net = TestNet::new();
    let all = endpoints(&net, 2);
    let (mesh, client) = mesh(&net, &all, HEDGE);
    all[0].reply(Reply::new(200, "slow").after(Duration::from_secs(5)));
    for _ in 0..10 {
        let began = tokio::time::Instant::now();
        assert_eq!(status(&client, get("/")).await.unwrap(), 200);
        assert!(began.elapsed() <= 25 * MS, "{:?}", began.elapsed());
    }
    assert!(all[0].calls() >= 1 && all[1].calls() == 10);
    let hedged = all[1]
        .seen()
        .into_iter()
        .find(|seen| seen.header("x-mesh-attempt") == "2");
    assert!(
        hedged.is_some(),
        "a hedge carries the number of its attempt"
    );
    // Released, and not held against it as a failure.
    let report = mesh.report();
    let slow = report
        .endpoints
        .iter()
        .find(|e| e.addr == all[0].addr())
        .unwrap();
    assert_eq!((slow.in_flight, slow.failures), (0, 0), "{slow:?}");
    let text = mesh.metrics_text();
    assert!(
        text.lines()
            .any(|line| line.starts_with("mesh_hedges_total") && line.contains("\"won\"")),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a6_a_failure_lets_the_next_attempt_start_at_once() {
    let net = TestNet::new();
    let all = endpoints(&net, 2);
    let (_mesh, client) = mesh(&net, &all, HEDGE);
    all[0].answer(503, "");
    let began = tokio::time::Instant::now();
    for _ in 0..4 {
        assert_eq!(status(&client, get("/")).await.unwrap(), 200);
    }
    assert!(began.elapsed() < 20 * MS, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a6_pushback_is_honoured_and_cancels_nothing_in_flight() {
    let net = TestNet::new();
    let all = endpoints(&net, 1);
    let (_mesh, client) = mesh(&net, &all, HEDGE);
    let never = HeaderValue::from_static("-1");
    let pushback = HeaderName::from_static("grpc-retry-pushback-ms");
    all[0].reply(Reply::grpc_only(14).header(pushback, never));
    let mut request = grpc("/a.B/C");
    *request.method_mut() = http::Method::PUT;
    call(&client, request).await.unwrap();
    assert_eq!(all[0].calls(), 1);
    // A time is waited for.
    let net = TestNet::new();
    let all = endpoints(&net, 1);
    let (_mesh, client) = mesh_of(&net, &all);
    let wait = HeaderValue::from_static("3");
    all[0].once(Reply::new(503, "").header(http::header::RETRY_AFTER, wait));
    let began = tokio::time::Instant::now();
    assert_eq!(status(&client, get("/")).await.unwrap(), 200);
    assert!(
        began.elapsed() >= Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
}

fn mesh_of(net: &TestNet, all: &[TestEndpoint]) -> (Mesh, MeshClient) {
    mesh(net, all, HEDGE)
}

#[tokio::test(start_paused = true)]
async fn failsafe_141_an_empty_hedge_budget_cancels_nothing() {
    let policy = "backend: { hedging: { delay: 20ms, maxExtraPercent: 1 } }";
    let net = TestNet::new();
    let all = endpoints(&net, 2);
    let (mesh, client) = mesh(&net, &all, policy);
    all.iter()
        .for_each(|one| one.reply(Reply::new(200, "").after(30 * MS)));
    for _ in 0..150 {
        assert_eq!(status(&client, get("/")).await.unwrap(), 200);
    }
    let extra = all.iter().map(TestEndpoint::calls).sum::<usize>() - 150;
    assert_eq!(extra, 1, "1 % of 150 calls");
    assert!(mesh.metrics_text().contains("\"budget\""));
}

#[tokio::test(start_paused = true)]
async fn only_marked_calls_with_a_body_at_hand_are_hedged() {
    for (policy, request, attempts) in [
        (HEDGE, post("/", "x"), 1),
        (
            "backend: { hedging: { delay: 20ms, maxExtraPercent: 100, idempotent: true } }",
            post("/", "x"),
            2,
        ),
        (HEDGE, get("/"), 2),
    ] {
        let net = TestNet::new();
        let all = endpoints(&net, 2);
        let (_mesh, client) = mesh(&net, &all, policy);
        all.iter()
            .for_each(|one| one.reply(Reply::new(200, "").after(100 * MS)));
        let method = request.method().clone();
        status(&client, request).await.unwrap();
        let made: usize = all.iter().map(TestEndpoint::calls).sum();
        assert_eq!(made, attempts, "{method} {policy}");
    }
    // A stream of the client, still open: never.
    let net = TestNet::new();
    let all = endpoints(&net, 2);
    let (_mesh, client) = mesh(&net, &all, HEDGE);
    let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>(http_body::Frame::data(
        bytes::Bytes::from_static(b"x"),
    ))]);
    let open = futures_util::StreamExt::chain(pieces, futures_util::stream::pending());
    let body = mesh_tower::MeshBody::new(http_body_util::StreamBody::new(open));
    let mut request = get("/");
    *request.method_mut() = http::Method::PUT;
    *request.body_mut() = body;
    let result = tokio::time::timeout(Duration::from_secs(2), call(&client, request)).await;
    assert!(result.is_err());
    let connects: u64 = all.iter().map(TestEndpoint::connects).sum();
    assert_eq!(connects, 1);
}

#[tokio::test(start_paused = true)]
async fn the_layer_alone_hedges_what_is_marked() {
    let net = TestNet::new();
    let all = endpoints(&net, 2);
    let (_mesh, client) = mesh(&net, &all, "");
    all.iter()
        .for_each(|one| one.reply(Reply::new(200, "").after(100 * MS)));
    let policy = HedgePolicy::default()
        .with_fixed_delay(Some(10 * MS))
        .with_max_extra_percent(100);
    let mut hedged = HedgeLayer::new(&policy)
        .idempotent(|request| request.headers().contains_key("idempotency-key"))
        .layer(client);
    let made = || all.iter().map(TestEndpoint::calls).sum::<usize>();
    hedged.call(post("/", "x")).await.unwrap();
    assert_eq!(made(), 1);
    let mut marked = post("/", "x");
    marked
        .headers_mut()
        .insert("idempotency-key", HeaderValue::from_static("7"));
    hedged.call(marked).await.unwrap();
    assert_eq!(made(), 3);
}

// === gRPC: what is committed ===

const GRPC_RETRY: &str = "route: [{ retry: { attempts: 2, codes: [503], nonIdempotent: Allow } }]";

#[tokio::test(start_paused = true)]
async fn a6_trailers_after_no_message_are_repeated_and_after_a_message_are_not() {
    for (reply, attempts) in [
        (Reply::grpc_only(14), 3),
        (Reply::grpc_late(14), 3),
        (Reply::grpc(14), 1),
        (Reply::grpc_late(5), 1),
    ] {
        let net = TestNet::new();
        let all = endpoints(&net, 1);
        let (_mesh, client) = mesh(&net, &all, GRPC_RETRY);
        all[0].reply(reply.clone());
        let response = call(&client, grpc("/a.B/C")).await.unwrap();
        // Whatever was looked at is still there for the caller.
        let trailers = http_body_util::BodyExt::collect(response.into_body())
            .await
            .unwrap();
        if let Some(trailers) = trailers.trailers() {
            assert!(trailers.contains_key("grpc-status"));
        }
        assert_eq!(all[0].calls(), attempts, "{reply:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a6_pushback_in_late_trailers_is_obeyed() {
    let net = TestNet::new();
    let all = endpoints(&net, 1);
    let (_mesh, client) = mesh(&net, &all, GRPC_RETRY);
    let trailers = http::HeaderMap::from_iter([
        (
            HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("14"),
        ),
        (
            HeaderName::from_static("grpc-retry-pushback-ms"),
            HeaderValue::from_static("-1"),
        ),
    ]);
    all[0].reply(Reply::grpc_late(14).with_trailers(trailers));
    call(&client, grpc("/a.B/C")).await.unwrap();
    assert_eq!(all[0].calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_begins_late_is_passed_on_within_10_ms() {
    let net = TestNet::new();
    let all = endpoints(&net, 1);
    let (_mesh, client) = mesh(&net, &all, GRPC_RETRY);
    all[0].reply(Reply::silent(200));
    let began = tokio::time::Instant::now();
    let response = call(&client, grpc("/a.B/C")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(began.elapsed() <= 12 * MS, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a6_what_was_never_sent_is_no_attempt_to_the_callee() {
    let net = TestNet::new();
    let all = endpoints(&net, 2);
    let (_mesh, client) = mesh(
        &net,
        &all,
        "backend: { loadBalancing: { algorithm: RoundRobin } }",
    );
    all[0].kill();
    for _ in 0..4 {
        assert_eq!(status(&client, get("/")).await.unwrap(), 200);
    }
    assert!(all[0].connects() > 0);
    for seen in all[1].seen() {
        assert_eq!(seen.header("x-mesh-attempt"), "");
    }
}

// === chain stop ===

const RETRY: &str = "route: [{ retry: { attempts: 2, codes: [503] } }]";

#[tokio::test(start_paused = true)]
async fn a_failure_that_was_retried_below_is_not_retried_again() {
    let net = TestNet::new();
    let all = endpoints(&net, 1);
    let (_mesh, client) = mesh(&net, &all, RETRY);
    let mark = HeaderName::from_static("x-mesh-retried");
    all[0].reply(Reply::new(503, "why it failed").header(mark, HeaderValue::from_static("1")));
    let serving = RequestContext::start(&mut fastrand::Rng::with_seed(1));
    let exhausted = serving.exhausted.clone();
    let response = context::scope(serving, call(&client, get("/")))
        .await
        .unwrap();
    assert_eq!(response.status(), 503);
    let body = response.into_body().collect_to_bytes(100).await.unwrap();
    assert_eq!(body, "why it failed", "the user is still told what failed");
    assert_eq!(all[0].calls(), 1);
    assert!(exhausted.get(), "and its server tells the next one up");
}

#[tokio::test(start_paused = true)]
async fn only_what_was_tried_again_is_marked() {
    for (policy, answer, expected) in [
        (RETRY, 503, true),
        (RETRY, 500, false),
        ("", 503, false),
        (RETRY, 200, false),
    ] {
        let net = TestNet::new();
        let all = endpoints(&net, 1);
        let (_mesh, client) = mesh(&net, &all, policy);
        all[0].answer(answer, "");
        let serving = RequestContext::start(&mut fastrand::Rng::with_seed(1));
        let exhausted = serving.exhausted.clone();
        context::scope(serving, status(&client, get("/")))
            .await
            .unwrap();
        assert_eq!(exhausted.get(), expected, "{policy} {answer}");
    }
}

/// web -> a -> b -> c -> leaf, the leaf down, two retries at each of the four hops.
#[test]
fn four_hops_of_two_retries_each_load_a_dead_leaf_with_at_most_1_3_times_what_is_offered() {
    let names = ["a", "b", "c", "leaf"];
    let mut policy = String::new();
    let mut scenario = Scenario::new("four hops")
        .seed(1)
        .lasting(Duration::from_secs(20))
        .load(Load::new("shop/a", 200.0));
    for (at, name) in names.iter().enumerate() {
        policy.push_str(&format!(
            "---\nservice: shop/{name}\nroute: [{{ retry: {{ attempts: 2, codes: [500, 502, 503, 504] }} }}]\n"
        ));
        let mut service = sim::Service::new(&format!("shop/{name}"), 1).in_mesh();
        if let Some(next) = names.get(at + 1) {
            service = service.calling(&format!("shop/{next}"));
        } else {
            service = service.behaving(Behaviour::failing(503, 1.0));
        }
        scenario = scenario.service(service);
    }
    let outcome = scenario.policy(&policy).run().unwrap();
    let load = outcome.amplification("shop/leaf", ..);
    assert!(outcome.calls(..).count() > 3500 && outcome.success(..) == 0.0);
    println!("the leaf sees {load:.3} times the load");
    assert!(load > 1.0 && load <= 1.3, "{load}");
}

// === ceiling and budget together ===

#[tokio::test(start_paused = true)]
async fn a_burst_that_waited_for_one_refused_connection_goes_elsewhere_whole() {
    let net = TestNet::new();
    let all = endpoints(&net, 2);
    let policy = "backend: { loadBalancing: { algorithm: RoundRobin } }";
    let (_mesh, client) = mesh(&net, &all, policy);
    all[0].kill();
    let burst = (0..200).map(|_| status(&client, get("/")));
    for result in futures_util::future::join_all(burst).await {
        // More than 3 and 20 % of the calls in flight at once, and all of it load that was due anyway.
        assert_eq!(result.unwrap(), 200);
    }
    assert_eq!(all[1].calls(), 200);
}

#[tokio::test(start_paused = true)]
async fn the_throttle_is_turned_on_by_policy_and_counts_attempts() {
    let net = TestNet::new();
    let all = endpoints(&net, 1);
    let policy = "route: [{ retry: { attempts: 1, codes: [429] } }]\n\
        traffic: { outbound: { throttle: { maxRejectPercent: 80 } } }";
    let (mesh, client) = mesh(&net, &all, policy);
    all[0].answer(429, "");
    let (mut refused, mut answered) = (0, 0);
    for _ in 0..500 {
        match status(&client, get("/")).await {
            Ok(429) => answered += 1,
            Ok(other) => panic!("{other}"),
            Err(error) => {
                assert_eq!(error.code().to_string(), "M2006", "{error:#}");
                refused += 1;
            }
        }
    }
    assert!((330..=420).contains(&refused), "{refused}");
    assert!(answered > 80, "a trickle: {answered}");
    assert!(all[0].calls() > answered, "retries are attempts too");
    assert!(mesh.metrics_text().contains("mesh_throttled_total"));
}

// === deadlines ===

#[tokio::test(start_paused = true)]
async fn the_time_left_is_computed_anew_for_each_attempt() {
    let policy = "route: [{ timeout: 2s, attemptTimeout: 500ms, \
        retry: { attempts: 2, codes: [503], nonIdempotent: Allow } }]";
    for is_grpc in [false, true] {
        let net = TestNet::new();
        let all = endpoints(&net, 1);
        let (_mesh, client) = mesh(&net, &all, policy);
        all[0].once(Reply::hang());
        let mut request = if is_grpc { grpc("/a.B/C") } else { get("/") };
        if is_grpc {
            // A deadline of the caller's own goes on as what it is.
            let own = http::HeaderValue::from_static("5S");
            request.headers_mut().insert("grpc-timeout", own);
        }
        let response = call(&client, request).await.unwrap();
        assert_eq!(response.status(), 200);
        let left = |at: usize| -> Duration {
            let seen = &all[0].seen()[at];
            match is_grpc {
                true => {
                    let text = seen.header("grpc-timeout");
                    assert!(text.len() <= 9, "at most 8 digits and a unit: {text}");
                    mesh_core::deadline::parse_grpc_timeout(text).unwrap()
                }
                false => {
                    let text = seen.header("x-mesh-timeout-ms");
                    mesh_core::deadline::parse_timeout_ms(text).unwrap()
                }
            }
        };
        let (first, second) = (left(0), left(1));
        assert!(first > 1900 * MS && first <= 2000 * MS, "{first:?}");
        let gone = first - second;
        assert!(gone >= 499 * MS && gone < 600 * MS, "{gone:?}");
    }
}
