//! Faults made on purpose, answers that a rule gives itself, and edits of trailers.

use std::time::Duration;

use http_body_util::BodyExt;
use mesh_core::policy::Layer;
use mesh_core::policy::text::{Source, load};
use mesh_tower::testkit::{Reply, TestEndpoint, TestNet};
use mesh_tower::{Mesh, MeshBody, MeshClient};

use crate::support::{call, edge, get, grpc, services, status, under};

fn text(route: &str) -> String {
    let services = services(&[("shop/v1", &["10.0.0.1:80", "10.0.0.2:80"])]);
    let backends = if route.starts_with("respond") {
        ""
    } else {
        "backends: { v1: 1 }, "
    };
    format!("{services}service: shop/reviews\nroute:\n- {{ {backends}{route} }}\n")
}

fn routed(route: &str) -> (TestEndpoint, Mesh, MeshClient) {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    net.endpoint("10.0.0.2:80");
    let (mesh, client) = under(&net, &text(route));
    (one, mesh, client)
}

async fn body(response: http::Response<MeshBody>) -> String {
    let bytes = response
        .into_body()
        .collect_to_bytes(1 << 20)
        .await
        .unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_abort_is_answered_without_a_callee_and_says_that_it_is_a_fault() {
    let (one, mesh, client) = routed(
        "fault: { abort: { status: 503, percent: 100 } }, retry: { attempts: 2, codes: [503] }",
    );
    let response = call(&client, get("/")).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["mesh-reason"], "M2020");
    assert!(body(response).await.contains("was injected [M2020]"));
    let response = call(&client, grpc("/shop.Reviews/Get")).await.unwrap();
    assert_eq!(
        (
            response.status().as_u16(),
            response.headers()["grpc-status"].to_str().unwrap()
        ),
        (200, "14")
    );
    assert_eq!(response.headers()["mesh-reason"], "M2020");
    drop(response);
    for _ in 0..100 {
        assert_eq!(status(&client, get("/")).await.unwrap(), 503);
    }
    // Nobody was called, nobody is blamed, nothing was tried again; the calls are counted.
    assert_eq!(one.calls(), 0);
    let edge = edge(&mesh);
    assert_eq!((edge.calls, edge.failures, edge.retries), (102, 102, 0));
    let report = mesh.report();
    assert!(
        report
            .endpoints
            .iter()
            .all(|endpoint| endpoint.reason.is_none() && endpoint.failures == 0),
        "{report:?}"
    );
    let metrics = mesh.metrics_text();
    let counted = metrics
        .lines()
        .find(|line| line.starts_with("mesh_faults_total{") && line.contains("abort"));
    assert!(
        counted.is_some_and(|line| line.ends_with(" 102")),
        "{counted:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_grpc_abort_has_its_code_and_an_http_call_the_status_that_says_the_same() {
    let (_, _, client) = routed("fault: { abort: { grpc: RESOURCE_EXHAUSTED, percent: 100 } }");
    let response = call(&client, grpc("/shop.Reviews/Get")).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "8");
    assert_eq!(status(&client, get("/")).await.unwrap(), 429);
}

#[tokio::test(start_paused = true)]
async fn a_delay_comes_first_then_the_abort_and_all_within_the_deadline() {
    let (_, _, client) = routed(
        "timeout: 2s, fault: { delay: { duration: 300ms, percent: 100 }, abort: { status: 500, percent: 100 } }",
    );
    let began = tokio::time::Instant::now();
    assert_eq!(status(&client, get("/")).await.unwrap(), 500);
    assert_eq!(began.elapsed().as_millis(), 300);

    let (one, _, client) =
        routed("timeout: 200ms, fault: { delay: { duration: 1m, percent: 100 } }");
    let began = tokio::time::Instant::now();
    let error = call(&client, get("/")).await.unwrap_err();
    assert_eq!(error.code().to_string(), "M2008");
    assert_eq!((began.elapsed().as_millis(), one.calls()), (200, 0));
}

#[tokio::test(start_paused = true)]
async fn one_seed_is_one_run_over_two_processes_and_through_changes_of_the_policy() {
    let faulty = "fault: { abort: { status: 500, percent: 30 }, seed: 7 }";
    let run = async |change: bool| {
        let (_, mesh, client) = routed(faulty);
        let mut out = Vec::new();
        for n in 0..200 {
            if change && n % 20 == 0 {
                let other = text(&format!("timeout: {}s, {faulty}", 3 + n / 20));
                let loaded = load(&[Source::new("test.yaml", other)]);
                mesh.store().apply(Layer::File, loaded.resources).unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            out.push(status(&client, get("/")).await.unwrap());
        }
        out
    };
    let first = run(false).await;
    assert_eq!(first, run(true).await);
    let failed = first.iter().filter(|status| **status == 500).count();
    assert!((40..80).contains(&failed), "{failed}");
}

#[tokio::test(start_paused = true)]
async fn only_calls_with_the_header_are_meant_and_only_until_the_end() {
    let wall: std::time::SystemTime = std::time::SystemTime::now() + Duration::from_secs(3600);
    let unix = wall
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let (_, _, client) = routed(&format!(
        "fault: {{ abort: {{ status: 500, percent: 100 }}, header: {{ name: x-test, value: 'on' }}, expires: '{}' }}",
        rfc3339(unix)
    ));
    let with = |value: &'static str| {
        let mut request = get("/");
        request
            .headers_mut()
            .insert("x-test", value.parse().unwrap());
        request
    };
    assert_eq!(status(&client, get("/")).await.unwrap(), 200);
    assert_eq!(status(&client, with("off")).await.unwrap(), 200);
    assert_eq!(status(&client, with("on")).await.unwrap(), 500);
    tokio::time::sleep(Duration::from_secs(3590)).await;
    assert_eq!(status(&client, with("on")).await.unwrap(), 500);
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(status(&client, with("on")).await.unwrap(), 200);
}

/// Days by the civil calendar (Hinnant, "chrono-compatible low-level date algorithms").
fn rfc3339(unix: u64) -> String {
    let days = unix as i64 / 86_400 + 719_468;
    let era = days.div_euclid(146_097);
    let day = days.rem_euclid(146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let second = unix % 86_400;
    format!(
        "{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_cap_pass() {
    let (one, mesh, client) =
        routed("fault: { delay: { duration: 1s, percent: 100 }, maxActive: 3 }");
    let calls = (0..10).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            let began = tokio::time::Instant::now();
            status(&client, get("/")).await.unwrap();
            began.elapsed().as_secs()
        })
    });
    let mut late = 0;
    for call in calls.collect::<Vec<_>>() {
        late += call.await.unwrap();
    }
    assert_eq!(late, 3);
    let _ = (one, mesh);
}

#[tokio::test(start_paused = true)]
async fn a_rule_answers_itself() {
    let (one, _mesh, client) = routed(
        "respond: { status: 503, body: '{\"closed\":true}', contentType: application/json }",
    );
    let response = call(&client, get("/")).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["mesh-reason"], "M2021");
    assert_eq!(body(response).await, "{\"closed\":true}");
    let response = call(
        &client,
        http::Request::head("/").body(MeshBody::empty()).unwrap(),
    )
    .await
    .unwrap();
    assert_eq!(body(response).await, "");
    let response = call(&client, grpc("/shop.Reviews/Get")).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "14");
    assert_eq!(one.calls(), 0);

    let (_one, _mesh, client) = routed("respond: { status: 200, body: ok }");
    let response = call(&client, get("/")).await.unwrap();
    assert_eq!(
        response.headers()["content-type"],
        "text/plain; charset=utf-8"
    );
    assert!(!response.headers().contains_key("mesh-reason"));
    assert_eq!(body(response).await, "ok");
}

#[tokio::test(start_paused = true)]
async fn trailers_are_edited_behind_a_body_and_in_a_head_that_is_all_there_is() {
    let (one, _mesh, client) =
        routed("trailers: { set: [{ name: x-set, value: new }], remove: [x-gone] }");
    let mut trailers = http::HeaderMap::new();
    for (name, value) in [("x-set", "old"), ("x-gone", "1"), ("grpc-status", "0")] {
        trailers.insert(name, value.parse().unwrap());
    }
    // Both endpoints: either may be picked.
    one.reply(Reply::grpc(0).with_trailers(trailers));
    let mut seen = 0;
    for _ in 0..20 {
        let response = call(&client, grpc("/shop.Reviews/Get")).await.unwrap();
        assert!(!response.headers().contains_key("x-set"));
        let body = response.into_body().collect().await.unwrap();
        if let Some(trailers) = body.trailers() {
            assert_eq!(trailers["x-set"], "new");
            assert!(!trailers.contains_key("x-gone"));
            seen += 1;
        }
    }
    assert!(seen > 0);
    one.reply(Reply::grpc_only(5));
    let mut seen = 0;
    for _ in 0..20 {
        let response = call(&client, grpc("/shop.Reviews/Get")).await.unwrap();
        if response.headers().contains_key("grpc-status") {
            assert_eq!(response.headers()["x-set"], "new");
            seen += 1;
        }
    }
    assert!(seen > 0);
}
