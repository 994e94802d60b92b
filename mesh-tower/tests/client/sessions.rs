//! Session persistence (GEP-1619), end to end.

use std::time::Duration;

use http::header::{COOKIE, SET_COOKIE};
use mesh_core::policy::Layer;
use mesh_core::policy::text::{Source, load};
use mesh_tower::testkit::TestNet;
use mesh_tower::{Mesh, MeshClient};

use crate::support::{call, get, rule, services, under};

const TWO: [(&str, &[&str]); 3] = [
    ("shop/reviews", &["10.0.0.9:80"]),
    ("shop/v1", &["10.0.1.1:80", "10.0.1.2:80", "10.0.1.3:80"]),
    ("shop/v2", &["10.0.2.1:80", "10.0.2.2:80"]),
];

fn policy(weights: (u32, u32), session: &str) -> String {
    let (v1, v2) = weights;
    let text = format!(
        "backendRefs: [{{ name: v1, weight: {v1} }}, {{ name: v2, weight: {v2} }}], sessionPersistence: {{ {session} }}"
    );
    format!("{}{}", services(&TWO), rule(&text))
}

fn start(weights: (u32, u32), session: &str) -> (TestNet, Mesh, MeshClient) {
    let net = TestNet::new();
    for (_, addrs) in TWO {
        for addr in addrs {
            net.endpoint(addr).answer(200, *addr);
        }
    }
    let (mesh, client) = under(&net, &policy(weights, session));
    (net, mesh, client)
}

fn apply(mesh: &Mesh, text: &str) {
    let loaded = load(&[Source::new("test.yaml", text)]);
    mesh.store().apply(Layer::File, loaded.resources).unwrap();
}

/// Who answered, and the `set-cookie` if there is one.
async fn ask(client: &MeshClient, cookie: Option<&str>) -> (String, Option<String>) {
    let mut request = get("/");
    if let Some(cookie) = cookie {
        request
            .headers_mut()
            .insert(COOKIE, cookie.parse().unwrap());
    }
    let response = call(client, request).await.unwrap();
    let set = response.headers().get(SET_COOKIE);
    let set = set.map(|value| value.to_str().unwrap().to_owned());
    let body = response
        .into_body()
        .collect_to_bytes(1 << 10)
        .await
        .unwrap();
    (String::from_utf8(body.to_vec()).unwrap(), set)
}

fn value(set_cookie: &str) -> String {
    set_cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn gep1619_all_calls_of_a_session_go_to_one_endpoint_and_the_cookie_comes_once() {
    let (_net, _mesh, client) = start((50, 50), "sessionName: sid");
    let (first, cookie) = ask(&client, None).await;
    let cookie = cookie.unwrap();
    assert!(
        cookie.starts_with("sid=") && cookie.ends_with("; Path=/; HttpOnly"),
        "{cookie}"
    );
    assert!(!cookie.contains("10.0"), "{cookie}");
    let both = format!("other=1; {}", value(&cookie));
    for _ in 0..50 {
        assert_eq!(ask(&client, Some(&both)).await, (first.clone(), None));
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..50 {
        seen.insert(ask(&client, None).await.0);
    }
    assert!(seen.len() > 2, "others go anywhere: {seen:?}");
}

#[tokio::test(start_paused = true)]
async fn gep1619_a_session_is_maintained_across_a_split_even_when_the_weight_is_set_to_0() {
    let (_net, mesh, client) = start((0, 100), "sessionName: sid");
    let (first, cookie) = ask(&client, None).await;
    assert!(first.starts_with("10.0.2."));
    apply(&mesh, &policy((100, 0), "sessionName: sid"));
    // A change of the policy is a new view.
    tokio::time::sleep(Duration::from_millis(10)).await;
    let cookie = value(&cookie.unwrap());
    for _ in 0..20 {
        assert_eq!(ask(&client, Some(&cookie)).await.0, first);
        assert!(ask(&client, None).await.0.starts_with("10.0.1."));
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_survives_a_restart_and_works_in_another_process() {
    let (net, mesh, client) = start((50, 50), "sessionName: sid");
    let (first, cookie) = ask(&client, None).await;
    let cookie = value(&cookie.unwrap());
    drop((mesh, client));
    let (_mesh, client) = under(&net, &policy((50, 50), "sessionName: sid"));
    for _ in 0..20 {
        assert_eq!(ask(&client, Some(&cookie)).await, (first.clone(), None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_endpoint_is_gone_moves_and_stays_there() {
    let net = TestNet::new();
    let endpoints: Vec<_> = TWO[1].1.iter().map(|addr| net.endpoint(addr)).collect();
    for endpoint in &endpoints {
        endpoint.answer(200, endpoint.addr().to_string());
    }
    let (_mesh, client) = under(&net, &policy((100, 0), "sessionName: sid"));
    let (first, cookie) = ask(&client, None).await;
    let its_own =
        |endpoint: &&mesh_tower::testkit::TestEndpoint| endpoint.addr().to_string() == first;
    endpoints.iter().find(its_own).unwrap().kill();
    // The client sees that its connection is gone.
    tokio::time::sleep(Duration::from_millis(10)).await;
    let (second, moved) = ask(&client, Some(&value(&cookie.unwrap()))).await;
    assert_ne!(second, first);
    let moved = value(&moved.unwrap());
    for _ in 0..20 {
        assert_eq!(ask(&client, Some(&moved)).await, (second.clone(), None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_forged_or_foreign_token_begins_a_new_session() {
    let (_net, _mesh, client) = start((50, 50), "sessionName: sid");
    for forged in [
        "sid=",
        "sid=10.0.1.1:80",
        "sid=00",
        &format!("sid={}", "0".repeat(66)),
    ] {
        let (_, cookie) = ask(&client, Some(forged)).await;
        assert!(cookie.is_some(), "{forged}");
    }
}

#[tokio::test(start_paused = true)]
async fn gep1619_a_session_is_over_after_its_absolute_timeout() {
    let (_net, _mesh, client) = start((50, 50), "sessionName: sid, absoluteTimeout: 1m");
    let (first, cookie) = ask(&client, None).await;
    let cookie = value(&cookie.unwrap());
    tokio::time::sleep(Duration::from_secs(58)).await;
    assert_eq!(ask(&client, Some(&cookie)).await, (first, None));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(ask(&client, Some(&cookie)).await.1.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_used_outlives_its_idle_timeout() {
    let (_net, _mesh, client) = start((50, 50), "sessionName: sid, idleTimeout: 1m");
    let (first, cookie) = ask(&client, None).await;
    let mut cookie = value(&cookie.unwrap());
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(40)).await;
        let (same, renewed) = ask(&client, Some(&cookie)).await;
        assert_eq!(same, first);
        cookie = value(&renewed.unwrap());
    }
    tokio::time::sleep(Duration::from_secs(62)).await;
    assert_ne!(value(&ask(&client, Some(&cookie)).await.1.unwrap()), cookie);
}

#[tokio::test(start_paused = true)]
async fn gep1619_a_session_by_header_is_told_in_the_answers_header() {
    let (_net, _mesh, client) = start((50, 50), "sessionName: x-session, type: Header");
    let response = call(&client, get("/")).await.unwrap();
    let token = response.headers()["x-session"].clone();
    let first = response.into_body().collect_to_bytes(100).await.unwrap();
    for _ in 0..20 {
        let mut request = get("/");
        request.headers_mut().insert("x-session", token.clone());
        let response = call(&client, request).await.unwrap();
        assert!(!response.headers().contains_key("x-session"));
        assert_eq!(
            response.into_body().collect_to_bytes(100).await.unwrap(),
            first
        );
    }
}
