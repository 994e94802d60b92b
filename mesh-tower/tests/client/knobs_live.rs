//! The list of knobs that are changed while calls run: what was counted before the change counts
//! after it, and the connections that were open carry on. Each section says what was remembered.
#![allow(clippy::print_stdout, reason = "figures")]

use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response};
use mesh_core::policy::Layer;
use mesh_core::policy::text::{Source, load};
use mesh_core::report::EndpointHealth;
use mesh_tower::testkit::{Reply, TestEndpoint, TestNet};
use mesh_tower::{Mesh, MeshBody, MeshClient};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::support::{call, code, get, status};

const MS: Duration = Duration::from_millis(1);

/// Two endpoints that a running client knows, with a stream open to each.
struct Running {
    _net: TestNet,
    endpoints: Vec<TestEndpoint>,
    mesh: Mesh,
    client: MeshClient,
    streams: Vec<Response<MeshBody>>,
    text: String,
}

async fn run(section: &str) -> Running {
    let net = TestNet::new();
    let endpoints: Vec<_> = ["10.0.0.1:80", "10.0.0.2:80"]
        .map(|addr| net.endpoint(addr))
        .into();
    let mesh = net
        .mesh("shop/web")
        .endpoints("reviews.shop", endpoints.iter().map(TestEndpoint::addr))
        .build()
        .unwrap();
    let client = mesh.client("reviews.shop");
    let mut running = Running {
        _net: net,
        endpoints,
        mesh,
        client,
        streams: Vec::new(),
        text: String::new(),
    };
    running.apply(section).await;
    for endpoint in &running.endpoints {
        endpoint.reply(Reply::endless(200));
    }
    while running.endpoints.iter().any(|one| one.calls() == 0) {
        running
            .streams
            .push(call(&running.client, get("/stream")).await.unwrap());
    }
    for endpoint in &running.endpoints {
        endpoint.answer(200, "ok");
    }
    running
}

impl Running {
    async fn apply(&mut self, section: &str) {
        self.text = format!("service: shop/reviews\n{section}\n");
        let loaded = load(&[Source::new("test.yaml", self.text.as_str())]);
        assert!(loaded.diagnostics.0.is_empty(), "{:?}", loaded.diagnostics);
        let applied = self.mesh.store().apply(Layer::File, loaded.resources);
        applied.unwrap_or_else(|errors| panic!("{errors:?}"));
        tokio::time::sleep(MS).await;
    }

    /// Replaces a part of the policy that is in force; connections and streams stay.
    async fn change(&mut self, from: &str, to: &str) {
        let before = (self.connects(), self.in_flight());
        assert!(self.text.contains(from), "{from} in {}", self.text);
        let section = self.text.replacen(from, to, 1);
        let section = section.strip_prefix("service: shop/reviews\n").unwrap();
        self.apply(section).await;
        assert_eq!(
            (self.connects(), self.in_flight()),
            before,
            "{from} -> {to}"
        );
        assert_eq!(self.in_flight(), self.streams.len(), "every stream is open");
    }

    fn connects(&self) -> u64 {
        self.endpoints.iter().map(TestEndpoint::connects).sum()
    }

    fn in_flight(&self) -> usize {
        let report = self.mesh.report();
        let all = report.endpoints.iter().map(|one| one.in_flight as usize);
        all.sum()
    }

    fn calls(&self) -> usize {
        self.endpoints.iter().map(TestEndpoint::calls).sum()
    }

    fn state(&self, ix: usize) -> EndpointHealth {
        let addr = self.endpoints[ix].addr();
        let report = self.mesh.report();
        let found = report.endpoints.iter().find(|one| one.addr == addr);
        found.expect("the endpoint").state
    }

    fn all_answer(&self, status: u16) {
        for endpoint in &self.endpoints {
            endpoint.answer(status, "");
        }
    }

    async fn times(&self, times: usize) -> Vec<String> {
        let mut codes = Vec::new();
        for _ in 0..times {
            codes.push(code(status(&self.client, get("/")).await));
        }
        codes
    }
}

fn said(section: &str, kept: String) {
    println!("{section}: {kept}; connections and streams stay");
}

#[tokio::test(start_paused = true)]
async fn ejection_changed_live_keeps_who_is_ejected() {
    let text = "backend: { outlierDetection: { consecutiveErrors: 3, ejectFor: 30s }, \
                loadBalancing: { algorithm: RoundRobin } }";
    let mut running = run(text).await;
    running.endpoints[0].answer(500, "");
    running.times(12).await;
    assert_eq!(running.state(0), EndpointHealth::Ejected);
    running.change("ejectFor: 30s", "ejectFor: 60s").await;
    running
        .change("consecutiveErrors: 3", "consecutiveErrors: 7")
        .await;
    assert_eq!(running.state(0), EndpointHealth::Ejected, "kept");
    let before = running.endpoints[0].calls();
    assert!(running.times(20).await.iter().all(|code| code == "200"));
    assert_eq!(running.endpoints[0].calls(), before);
    said(
        "outlierDetection",
        "1 of 2 ejected before and after, 0 of 20 calls to it".into(),
    );
}

#[tokio::test(start_paused = true)]
async fn ejection_changed_live_keeps_what_was_counted() {
    let text = "backend: { outlierDetection: { consecutiveErrors: 9, failurePercent: 0 }, \
                loadBalancing: { algorithm: RoundRobin } }";
    let mut running = run(text).await;
    running.endpoints[0].answer(500, "");
    let failed = running
        .times(10)
        .await
        .iter()
        .filter(|code| *code == "500")
        .count();
    assert_eq!(failed, 5);
    running
        .change("consecutiveErrors: 9", "consecutiveErrors: 6")
        .await;
    assert_eq!(running.state(0), EndpointHealth::Available);
    running.times(2).await;
    assert_eq!(
        running.state(0),
        EndpointHealth::Ejected,
        "5 before, 1 after"
    );
    said(
        "outlierDetection",
        "5 errors before and 1 after are the 6 of the new threshold".into(),
    );
}

#[tokio::test(start_paused = true)]
async fn a_breaker_changed_live_keeps_its_window() {
    let text = "backend: { breaker: { window: 10, minimumCalls: 10, openFor: 10s }, \
                outlierDetection: { consecutiveErrors: 0, failurePercent: 0 } }";
    let mut running = run(text).await;
    running.all_answer(500);
    // The streams have not ended, and are not in the window.
    running.times(9).await;
    running.change("openFor: 10s", "openFor: 20s").await;
    assert_eq!(running.times(1).await, ["500"], "the tenth");
    let error = call(&running.client, get("/")).await.unwrap_err();
    assert_eq!(error.code().to_string(), "M2004");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(20)));
    // Open: a change does not close it.
    running.change("openFor: 20s", "openFor: 30s").await;
    assert_eq!(running.times(1).await, ["M2004"]);
    said(
        "breaker",
        "9 failures before and 1 after open it, a change leaves it open".into(),
    );
}

#[tokio::test(start_paused = true)]
async fn hedging_changed_live_keeps_its_budget() {
    let text = "backend: { hedging: { delay: 20ms, maxExtraPercent: 10 }, \
                loadBalancing: { algorithm: RoundRobin } }";
    let mut running = run(text).await;
    running.times(30).await;
    for endpoint in &running.endpoints {
        endpoint.reply(Reply::new(200, "").after(100 * MS));
    }
    let hedged = async |running: &Running, times: usize| {
        let before = running.calls();
        running.times(times).await;
        running.calls() - before - times
    };
    let before = hedged(&running, 2).await;
    assert_eq!(before, 2, "what 30 calls have earned");
    running.change("delay: 20ms", "delay: 40ms").await;
    let after = hedged(&running, 10).await;
    println!("hedges: {before} of 2 calls before the change, {after} of 10 after it");
    // 44 calls pay for 4 of them at 10 %.
    assert!(
        (1..=2).contains(&after),
        "{after}: neither empty nor filled anew"
    );
    said(
        "hedging",
        format!("{before} hedges before and {after} after come out of one budget"),
    );
}

#[tokio::test(start_paused = true)]
async fn a_throttle_changed_live_keeps_what_was_accepted() {
    let text = "traffic: { outbound: { throttle: { k: 2, maxRejectPercent: 80 } } }\n\
                backend: { outlierDetection: { consecutiveErrors: 0, failurePercent: 0 } }";
    let mut running = run(text).await;
    running.times(100).await;
    running
        .change("maxRejectPercent: 80", "maxRejectPercent: 90")
        .await;
    running.all_answer(429);
    let sent = running
        .times(90)
        .await
        .iter()
        .filter(|code| *code == "429")
        .count();
    assert_eq!(
        sent, 90,
        "100 were accepted: nothing is held back below 200"
    );
    let held = running
        .times(400)
        .await
        .iter()
        .filter(|code| *code == "M2006")
        .count();
    assert!(held > 100, "{held}");
    said(
        "throttle",
        format!(
            "{sent} of 90 refusals are no reason yet after 100 accepted, then {held} of 400 are held back"
        ),
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_budget_changed_live_keeps_what_was_spent() {
    let text = "route: [{ retry: { attempts: 1, codes: [500] } }]\n\
                backend: { retryBudget: { percent: 20, interval: 10s, minRetriesPerSecond: 5 }, \
                outlierDetection: { consecutiveErrors: 0, failurePercent: 0 } }";
    let mut running = run(text).await;
    running.all_answer(500);
    let before = running.calls();
    running.times(200).await;
    let spent = running.calls() - before - 200;
    assert!(
        (80..=95).contains(&spent),
        "50 and a fifth of the calls: {spent}"
    );
    running.change("percent: 20", "percent: 21").await;
    let before = running.calls();
    running.times(20).await;
    let more = running.calls() - before - 20;
    println!("retries: {spent} of 200 calls before the change, {more} of 20 after it");
    assert!(more <= 12, "{more}: a new budget would pay for all 20");
    said(
        "retryBudget",
        format!("{spent} retries before stay spent, {more} of 20 after"),
    );
}

#[tokio::test(start_paused = true)]
async fn ceilings_changed_live_keep_what_is_in_flight() {
    let mut running = run("backend: { ceilings: { maxRequests: 100 } }").await;
    let open = running.streams.len();
    running
        .change("maxRequests: 100", &format!("maxRequests: {open}"))
        .await;
    assert_eq!(running.times(1).await, ["M2005"]);
    let more = format!("maxRequests: {}", open + 1);
    running.change(&format!("maxRequests: {open}"), &more).await;
    assert_eq!(running.times(2).await, ["200", "200"]);
    said(
        "ceilings",
        format!("{open} streams count under the new ceiling"),
    );
}

#[tokio::test(start_paused = true)]
async fn health_checks_changed_live_keep_their_verdicts() {
    let text = "backend: { healthCheck: { http: { path: /healthz }, interval: 1s } }";
    let mut running = run(text).await;
    running.endpoints[0].decide(|seen| match seen.uri.path() {
        "/healthz" => Reply::new(503, ""),
        _ => Reply::new(200, ""),
    });
    let began = tokio::time::Instant::now();
    while running.state(0) != EndpointHealth::Unhealthy {
        assert!(began.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(100 * MS).await;
    }
    // Not `change`: the checks make connections of their own.
    let streams = running.in_flight();
    let section = text.replace("interval: 1s", "interval: 30s");
    running.apply(&section).await;
    assert_eq!(running.state(0), EndpointHealth::Unhealthy, "kept");
    assert_eq!(running.in_flight(), streams, "every stream is open");
    let calls = |running: &Running| {
        let seen = running.endpoints[0].seen();
        seen.iter().filter(|seen| seen.uri.path() == "/").count()
    };
    let before = calls(&running);
    running.times(10).await;
    assert_eq!(calls(&running), before);
    said(
        "healthCheck",
        "unhealthy before and after, 0 of 10 calls to it".into(),
    );
}

#[tokio::test(start_paused = true)]
async fn connection_settings_changed_live_break_no_connection() {
    let text = "backend: { connection: { maxAge: 1h }, connectTimeout: 1s, streamIdleTimeout: 5m }";
    let mut running = run(text).await;
    let before = running.connects();
    running.times(20).await;
    for (from, to) in [
        ("maxAge: 1h", "maxAge: 2h"),
        ("connectTimeout: 1s", "connectTimeout: 2s"),
        ("streamIdleTimeout: 5m", "streamIdleTimeout: 6m"),
    ] {
        running.change(from, to).await;
        assert!(running.times(20).await.iter().all(|code| code == "200"));
    }
    let after = running.connects();
    assert!(after <= before + 2, "{before} {after}");
    said(
        "connection",
        format!("{after} connections made for 80 calls and 3 changes"),
    );
}

#[tokio::test(start_paused = true)]
async fn balancing_changed_live_keeps_the_load_estimates() {
    let mut running = run("backend: { loadBalancing: { decay: 10s } }").await;
    running.endpoints[0].reply(Reply::new(200, "").after(200 * MS));
    running.times(60).await;
    let ewma = |running: &Running| {
        let report = running.mesh.report();
        report
            .endpoints
            .iter()
            .map(|one| one.ewma_us)
            .max()
            .unwrap()
    };
    let before = ewma(&running);
    running.change("decay: 10s", "decay: 20s").await;
    let after = ewma(&running);
    assert!(before > 100_000 && after > 100_000, "{before} {after}");
    let calls = running.endpoints[0].calls();
    running.times(20).await;
    let slow = running.endpoints[0].calls() - calls;
    assert!(slow <= 2, "{slow}");
    said(
        "loadBalancing",
        format!("the slow one is known as {after} us, {slow} of 20 calls to it"),
    );
}

// === inbound ===

struct Server {
    mesh: Mesh,
}

impl Server {
    fn new(inbound: &str) -> Self {
        let mesh = TestNet::new().mesh("shop/reviews").build().unwrap();
        let server = Self { mesh };
        server.apply(inbound);
        server
    }

    fn apply(&self, inbound: &str) {
        let text = format!("service: shop/reviews\ntraffic:\n  inbound: {{ {inbound} }}\n");
        let loaded = load(&[Source::new("test.yaml", text.as_str())]);
        assert!(loaded.diagnostics.0.is_empty(), "{:?}", loaded.diagnostics);
        self.mesh
            .store()
            .apply(Layer::File, loaded.resources)
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn rate_limits_changed_live_keep_their_buckets() {
    let server = Server::new("rateLimits: [{ name: all, requests: 4, per: 10s }]");
    let answer =
        |_: Request<MeshBody>| async { Ok::<_, Infallible>(Response::new(MeshBody::empty())) };
    let service = server.mesh.server_layer().layer(service_fn(answer));
    let send = async || {
        let answer = service.clone().oneshot(get("/")).await;
        answer
            .unwrap_or_else(|never| match never {})
            .status()
            .as_u16()
    };
    for _ in 0..4 {
        assert_eq!(send().await, 200);
    }
    server.apply("rateLimits: [{ name: all, requests: 4, per: 20s }]");
    assert_eq!(send().await, 429, "the bucket is as full as it was");
    server.apply("rateLimits: [{ name: all, requests: 4, per: 20s }], timeout: 3s");
    assert_eq!(send().await, 429);
    said(
        "rateLimits",
        "4 of 4 before, the fifth is refused after the change".into(),
    );
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_concurrency_changed_live_keeps_what_is_in_work() {
    let server = Server::new("concurrency: { algorithm: Fixed, initial: 2 }, queue: { size: 0 }");
    let answer = |_: Request<MeshBody>| async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        Ok::<_, Infallible>(Response::new(MeshBody::empty()))
    };
    let service = server.mesh.server_layer().layer(service_fn(answer));
    let start = async || {
        let task = tokio::spawn(service.clone().oneshot(get("/")));
        tokio::time::sleep(MS).await;
        match task.is_finished() {
            true => Some(task.await.unwrap().unwrap_or_else(|never| match never {})),
            false => None,
        }
    };
    assert!(
        start().await.is_none() && start().await.is_none(),
        "both in work"
    );
    assert_eq!(start().await.expect("no place").status(), 503);
    server.apply("concurrency: { algorithm: Fixed, initial: 3 }, queue: { size: 0 }");
    assert!(start().await.is_none(), "one more");
    assert_eq!(start().await.expect("no place").status(), 503);
    said(
        "concurrency",
        "2 in work before count under the limit of 3 after".into(),
    );
}
