//! A split by a key: the same key goes the same way, in every process and through a rollout.

use std::collections::BTreeMap;

use mesh_tower::testkit::TestNet;
use mesh_tower::{Mesh, MeshClient};

use crate::support::{call, get, services, under};

fn net() -> TestNet {
    let net = TestNet::new();
    net.endpoint("10.0.0.1:80").answer(200, "v1");
    net.endpoint("10.0.0.2:80").answer(200, "v2");
    net
}

fn start(net: &TestNet, weights: (u32, u32), sticky: &str) -> (Mesh, MeshClient) {
    let (v1, v2) = weights;
    let services = services(&[("shop/v1", &["10.0.0.1:80"]), ("shop/v2", &["10.0.0.2:80"])]);
    let text = format!(
        "{services}service: shop/reviews\nroute:\n- {{ backends: {{ v1: {v1}, v2: {v2} }}, sticky: {sticky} }}\n"
    );
    under(net, &text)
}

async fn of(client: &MeshClient, name: &'static str, value: &str) -> (String, Option<String>) {
    let mut request = get("/");
    if !value.is_empty() {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let response = call(client, request).await.unwrap();
    let cookie = response.headers().get("set-cookie");
    let cookie = cookie.map(|value| value.to_str().unwrap().to_owned());
    let body = response.into_body().collect_to_bytes(100).await.unwrap();
    (String::from_utf8(body.to_vec()).unwrap(), cookie)
}

async fn users(client: &MeshClient) -> BTreeMap<usize, String> {
    let mut out = BTreeMap::new();
    for user in 0..1_000 {
        out.insert(user, of(client, "x-user", &format!("user-{user}")).await.0);
    }
    out
}

#[tokio::test(start_paused = true)]
async fn a_user_keeps_its_version_while_a_canary_grows() {
    let net = net();
    let (_mesh, client) = start(&net, (90, 10), "{ header: x-user }");
    let ten = users(&client).await;
    assert_eq!(ten, users(&client).await);
    let (_other, client) = start(&net, (90, 10), "{ header: x-user }");
    assert_eq!(ten, users(&client).await, "another process");
    let (_mesh, client) = start(&net, (80, 20), "{ header: x-user }");
    let twenty = users(&client).await;
    let on_v2 = |users: &BTreeMap<usize, String>| users.values().filter(|v| *v == "v2").count();
    let moved = ten
        .iter()
        .filter(|(user, version)| twenty[user] != **version)
        .count();
    println!(
        "v2: {} then {} of 1000; {moved} moved",
        on_v2(&ten),
        on_v2(&twenty)
    );
    assert_eq!(moved, on_v2(&twenty) - on_v2(&ten), "nobody left v2");
    assert!((70..130).contains(&moved), "{moved}");
}

#[tokio::test(start_paused = true)]
async fn without_the_key_a_call_goes_anywhere() {
    let net = net();
    let (_mesh, client) = start(&net, (50, 50), "{ header: x-user }");
    let mut v1 = 0;
    for _ in 0..200 {
        v1 += usize::from(of(&client, "x-user", "").await.0 == "v1");
    }
    assert!((60..140).contains(&v1), "{v1}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_without_the_cookie_is_given_one_and_stays() {
    let net = net();
    let (_mesh, client) = start(&net, (50, 50), "{ cookie: { name: cohort, ttl: 1h } }");
    for _ in 0..20 {
        let (version, cookie) = of(&client, "cookie", "").await;
        let cookie = cookie.unwrap();
        assert!(
            cookie.ends_with("; Path=/; Max-Age=3600; HttpOnly"),
            "{cookie}"
        );
        let cookie = cookie.split(';').next().unwrap();
        for _ in 0..5 {
            assert_eq!(of(&client, "cookie", cookie).await, (version.clone(), None));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn by_source_all_calls_of_a_process_go_one_way() {
    let net = net();
    let (_mesh, client) = start(&net, (50, 50), "{ source: true }");
    let first = of(&client, "x", "").await.0;
    for _ in 0..50 {
        assert_eq!(of(&client, "x", "").await.0, first);
    }
}
