//! How calls are spread, by policy text, through the whole client.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Request};
use mesh_core::balance::EndpointInfo;
use mesh_tower::testkit::{Reply, TestEndpoint, TestNet};
use mesh_tower::{Mesh, MeshBody};

use crate::support::{call, get, status};

const MS: Duration = Duration::from_millis(1);

/// Endpoints `10.0.0.1:80` and on, each answering its own number.
fn endpoints(net: &TestNet, count: usize) -> Vec<TestEndpoint> {
    (1..=count)
        .map(|n| {
            let endpoint = net.endpoint(&format!("10.0.{}.{}:80", n / 256, n % 256));
            endpoint.answer(200, n.to_string());
            endpoint
        })
        .collect()
}

/// A client's mesh with a policy for `shop/reviews`, whose endpoints are named in it by `extra`
/// (`weight`, `zone` and so on of each).
fn mesh_in(
    net: &TestNet,
    zone: &str,
    endpoints: &[TestEndpoint],
    extra: impl Fn(usize) -> String,
    policy: &str,
) -> Mesh {
    let list: Vec<_> = endpoints
        .iter()
        .enumerate()
        .map(|(at, e)| format!("{{ address: '{}'{} }}", e.addr(), extra(at)))
        .collect();
    let text = format!(
        "service: shop/reviews\nendpoints: {{ static: [{}] }}\n{policy}\n",
        list.join(", ")
    );
    let builder = net.mesh("web").zone(zone).seed(7);
    builder.policy_text(&text).build().unwrap()
}

fn mesh(net: &TestNet, endpoints: &[TestEndpoint], policy: &str) -> Mesh {
    mesh_in(net, "", endpoints, |_| String::new(), policy)
}

fn by(algorithm: &str) -> String {
    format!("backend: {{ loadBalancing: {{ algorithm: {algorithm} }} }}")
}

async fn calls(mesh: &Mesh, number: usize) {
    let client = mesh.client("reviews.shop");
    for _ in 0..number {
        assert_eq!(status(&client, get("/")).await.unwrap(), 200);
    }
}

fn counts(endpoints: &[TestEndpoint]) -> Vec<usize> {
    endpoints.iter().map(TestEndpoint::calls).collect()
}

#[tokio::test(start_paused = true)]
async fn round_robin_follows_the_weights_exactly() {
    let net = TestNet::new();
    let all = endpoints(&net, 3);
    let weight = |at: usize| format!(", weight: {}", [5, 3, 2][at]);
    let mesh = mesh_in(&net, "", &all, weight, &by("RoundRobin"));
    calls(&mesh, 100).await;
    assert_eq!(counts(&all), [50, 30, 20]);
}

#[tokio::test(start_paused = true)]
async fn random_and_least_request_follow_the_weights_nearly() {
    for algorithm in ["Random", "LeastRequest"] {
        let net = TestNet::new();
        let all = endpoints(&net, 3);
        let weight = |at: usize| format!(", weight: {}", [5, 3, 2][at]);
        let mesh = mesh_in(&net, "", &all, weight, &by(algorithm));
        calls(&mesh, 1000).await;
        for (count, expected) in counts(&all).into_iter().zip([500_usize, 300, 200]) {
            assert!(
                count.abs_diff(expected) < 75,
                "{algorithm}: {:?}",
                counts(&all)
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn least_request_with_ten_choices_leaves_a_stuck_endpoint_alone() {
    let net = TestNet::new();
    let all = endpoints(&net, 5);
    all[0].reply(Reply::hang());
    let policy = "backend: { loadBalancing: { algorithm: LeastRequest, choices: 10 } }";
    let mesh = mesh(&net, &all, policy);
    let client = mesh.client("reviews.shop");
    // Until one call is stuck there.
    while all[0].calls() == 0 {
        let client = client.clone();
        tokio::spawn(async move { status(&client, get("/")).await });
        tokio::time::sleep(MS).await;
    }
    calls(&mesh, 500).await;
    assert_eq!(all[0].calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn peak_ewma_leaves_the_slow_one_of_ten() {
    let net = TestNet::new();
    let all = endpoints(&net, 10);
    for (at, endpoint) in all.iter().enumerate() {
        let latency = if at == 0 { 100 * MS } else { 10 * MS };
        endpoint.reply(Reply::new(200, "").after(latency));
    }
    let mesh = mesh(&net, &all, &by("PeakEwma"));
    let client = mesh.client("reviews.shop");
    for _ in 0..5000 {
        let client = client.clone();
        tokio::spawn(async move { status(&client, get("/")).await });
        tokio::time::sleep(4 * MS).await;
    }
    assert!(all[0].calls() < 150, "{:?}", counts(&all));
}

fn user(name: &str) -> Request<MeshBody> {
    let mut request = get("/");
    let value = HeaderValue::from_str(name).unwrap();
    request.headers_mut().insert("x-user", value);
    request
}

#[tokio::test(start_paused = true)]
async fn a_header_is_hashed_by_ring_and_by_maglev() {
    for algorithm in ["RingHash", "Maglev"] {
        let net = TestNet::new();
        let all = endpoints(&net, 5);
        let policy = format!(
            "backend: {{ loadBalancing: {{ algorithm: {algorithm}, hashOn: [{{ header: x-user }}] }} }}"
        );
        let mesh = mesh(&net, &all, &policy);
        let client = mesh.client("reviews.shop");
        for name in 0..50 {
            let before = counts(&all);
            for _ in 0..4 {
                status(&client, user(&format!("user-{name}")))
                    .await
                    .unwrap();
            }
            let grown = counts(&all)
                .iter()
                .zip(&before)
                .filter(|(now, was)| now > was)
                .count();
            assert_eq!(grown, 1, "{algorithm}");
        }
        assert!(
            counts(&all).iter().all(|n| *n > 0),
            "{algorithm}: {:?}",
            counts(&all)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn keys_of_a_dead_endpoint_go_elsewhere_without_a_failed_call_and_come_back() {
    let net = TestNet::new();
    let all = endpoints(&net, 5);
    let policy = "backend: { loadBalancing: { algorithm: Maglev, hashOn: [{ query: u }] } }";
    let mesh = mesh(&net, &all, policy);
    let client = mesh.client("reviews.shop");
    let owner = async |user: usize| {
        let answer = call(&client, get(&format!("/?u={user}"))).await.unwrap();
        answer.into_body().collect_to_bytes(10).await.unwrap()
    };
    let mut before = Vec::new();
    for user in 0..40 {
        before.push(owner(user).await);
    }
    all[2].kill();
    for (user, was) in before.iter().enumerate() {
        let now = owner(user).await;
        assert!(now != "3" && (was == "3" || *was == now), "user {user}");
    }
    all[2].revive();
    tokio::time::sleep(Duration::from_secs(30)).await;
    for user in 0..40 {
        owner(user).await;
    }
    // Slow start does not move keys.
    for (user, was) in before.iter().enumerate() {
        assert_eq!(owner(user).await, *was, "user {user}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_without_the_cookie_is_given_one_and_stays_where_it_was() {
    let net = TestNet::new();
    let all = endpoints(&net, 5);
    let policy = "backend: { loadBalancing: { algorithm: RingHash, \
                  hashOn: [{ cookie: { name: cart, ttl: 10m, path: /shop } }] } }";
    let mesh = mesh(&net, &all, policy);
    let client = mesh.client("reviews.shop");
    for _ in 0..20 {
        let first = call(&client, get("/")).await.unwrap();
        let given = first.headers()["set-cookie"].to_str().unwrap().to_owned();
        assert!(
            given.starts_with("cart=") && given.ends_with("; Max-Age=600; Path=/shop; HttpOnly"),
            "{given}"
        );
        let at = first.into_body().collect_to_bytes(10).await.unwrap();
        let cookie = given.split(';').next().unwrap();
        for _ in 0..5 {
            let mut request = get("/");
            let value = HeaderValue::from_str(cookie).unwrap();
            request.headers_mut().insert("cookie", value);
            let next = call(&client, request).await.unwrap();
            assert!(!next.headers().contains_key("set-cookie"));
            assert_eq!(next.into_body().collect_to_bytes(10).await.unwrap(), at);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hot_key_does_not_overrun_its_endpoint() {
    let net = TestNet::new();
    let all = endpoints(&net, 5);
    for endpoint in &all {
        endpoint.reply(Reply::new(200, "").after(Duration::from_secs(2)));
    }
    let policy = "backend: { loadBalancing: { algorithm: RingHash, boundedLoadPercent: 150, \
                  hashOn: [{ header: x-user }] } }";
    let mesh = mesh(&net, &all, policy);
    let client = mesh.client("reviews.shop");
    let mut running = Vec::new();
    for _ in 0..100 {
        let client = client.clone();
        running.push(tokio::spawn(
            async move { status(&client, user("hot")).await },
        ));
        tokio::time::sleep(MS).await;
    }
    let most = counts(&all).into_iter().max().unwrap();
    assert!(most <= 31, "{:?}", counts(&all));
    for call in running {
        assert_eq!(call.await.unwrap().unwrap(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a58_reported_load_decides_after_the_blackout() {
    let net = TestNet::new();
    let all = endpoints(&net, 2);
    for (endpoint, used) in all.iter().zip(["0.2", "0.6"]) {
        let report = format!("TEXT cpu_utilization={used},rps_fractional=60");
        endpoint.reply(Reply::new(200, "").header(
            HeaderName::from_static("endpoint-load-metrics"),
            HeaderValue::from_str(&report).unwrap(),
        ));
    }
    let mesh = mesh(&net, &all, &by("ClientWeighted"));
    let client = mesh.client("reviews.shop");
    for _ in 0..120 {
        status(&client, get("/")).await.unwrap();
        tokio::time::sleep(100 * MS).await;
    }
    assert_eq!(
        all[0].seen()[0].header("endpoint-load-metrics-format"),
        "TEXT"
    );
    let before = counts(&all);
    assert!(before[0].abs_diff(before[1]) <= 20, "{before:?}");
    calls(&mesh, 400).await;
    let after = counts(&all);
    // Weights of 300 and 100.
    assert!(
        (after[0] - before[0]).abs_diff(300) <= 4,
        "{before:?} {after:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_second_priority_takes_over_when_the_first_fails() {
    let net = TestNet::new();
    let all = endpoints(&net, 4);
    let priority = |at: usize| format!(", priority: {}", at / 2);
    let mesh = mesh_in(&net, "", &all, priority, &by("RoundRobin"));
    calls(&mesh, 40).await;
    assert_eq!(counts(&all), [20, 20, 0, 0]);
    all[0].kill();
    all[1].kill();
    calls(&mesh, 40).await;
    let now = counts(&all);
    assert!(now[2] + now[3] >= 38, "{now:?}");
}

#[tokio::test(start_paused = true)]
async fn calls_stay_in_the_own_zone_until_it_fails() {
    let net = TestNet::new();
    let all = endpoints(&net, 8);
    let zone = |at: usize| format!(", zone: {}", ["eu/a", "eu/b"][at % 2]);
    let mesh = mesh_in(&net, "eu/a", &all, zone, "");
    calls(&mesh, 200).await;
    let of = |zone: usize| -> usize { counts(&all).iter().skip(zone).step_by(2).sum() };
    assert_eq!((of(0), of(1)), (200, 0));
    all.iter().step_by(2).for_each(TestEndpoint::kill);
    // Until the ends of the connections have arrived: a call on its way then would be lost.
    tokio::time::sleep(MS).await;
    calls(&mesh, 200).await;
    assert!(of(1) >= 195, "{:?}", counts(&all));
}

#[tokio::test(start_paused = true)]
async fn each_client_uses_its_subset() {
    let net = TestNet::new();
    let all = endpoints(&net, 30);
    let policy = "backend: { loadBalancing: { algorithm: RoundRobin, subsetSize: 5 } }";
    let mesh = mesh(&net, &all, policy);
    calls(&mesh, 100).await;
    let used: Vec<_> = counts(&all).into_iter().filter(|n| *n > 0).collect();
    assert_eq!(used, [20; 5]);
}

#[tokio::test(start_paused = true)]
async fn above_a_hundred_endpoints_a_client_connects_to_an_arc_of_them() {
    let net = TestNet::new();
    let all = endpoints(&net, 150);
    let mesh = mesh(&net, &all, "");
    calls(&mesh, 600).await;
    let used = counts(&all).into_iter().filter(|n| *n > 0).count();
    assert!((10..=13).contains(&used), "{used}");
    // The control server says: one client of one. Then all of them are its own.
    mesh.feed().peers(0, 1, Default::default());
    tokio::time::sleep(MS).await;
    calls(&mesh, 2000).await;
    let used = counts(&all).into_iter().filter(|n| *n > 0).count();
    assert!(used > 120, "{used}");
}

#[tokio::test(start_paused = true)]
async fn a_subset_without_an_endpoint_falls_back_where_the_policy_says_so() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.answer(200, "any");
    let text = |fallback: &str| {
        format!(
            "service: shop/reviews\n\
             endpoints: {{ static: [{{ address: '10.0.0.1:80', labels: {{ version: v1 }} }}] }}\n\
             ---\n\
             service: shop/reviews-v2\n\
             subsetOf: reviews\n\
             selector: {{ version: v2 }}\n\
             {fallback}\n"
        )
    };
    let builder = net
        .mesh("web")
        .policy_text(&text("subsetFallback: AnyEndpoint"));
    let mesh = builder.build().unwrap();
    assert_eq!(
        status(&mesh.client("reviews-v2.shop"), get("/"))
            .await
            .unwrap(),
        200
    );
    let builder = net.mesh("web").policy_text(&text(""));
    let mesh = builder.endpoint_wait(MS).build().unwrap();
    let refused = status(&mesh.client("reviews-v2.shop"), get("/")).await;
    assert!(refused.is_err() || refused.is_ok_and(|status| status == 503));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_joins_takes_its_share_by_and_by() {
    let net = TestNet::new();
    let all = endpoints(&net, 3);
    let mesh = net
        .mesh("web")
        .policy_text("service: shop/reviews\nbackend: { loadBalancing: { algorithm: Random, slowStart: 100s } }\n")
        .build()
        .unwrap();
    let reviews = "shop/reviews".parse().unwrap();
    let infos = |count: usize| {
        Some(
            all[..count]
                .iter()
                .map(|e| EndpointInfo::new(e.addr()))
                .collect(),
        )
    };
    mesh.feed().endpoints(&reviews, infos(2));
    calls(&mesh, 10).await;
    mesh.feed().endpoints(&reviews, infos(3));
    tokio::time::sleep(MS).await;
    calls(&mesh, 1000).await;
    // A tenth of a share beside two whole ones.
    let early = all[2].calls();
    assert!((20..=90).contains(&early), "{early}");
    tokio::time::sleep(Duration::from_secs(100)).await;
    calls(&mesh, 1000).await;
    let late = all[2].calls() - early;
    assert!((270..=400).contains(&late), "{late}");
}

#[tokio::test(start_paused = true)]
async fn algorithms_flip_under_traffic_and_lose_neither_calls_nor_connections() {
    let net = TestNet::new();
    let all = endpoints(&net, 6);
    let mesh = mesh(&net, &all, "");
    let policies: Vec<_> = [
        "PeakEwma",
        "LeastRequest",
        "RoundRobin",
        "Random",
        "ClientWeighted",
        "RingHash, hashOn: [{ source: true }]",
        "Maglev, hashOn: [{ source: true }]",
    ]
    .map(by)
    .into();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (client, stop) = (mesh.client("reviews.shop"), stop.clone());
            tokio::spawn(async move {
                let mut number = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    assert_eq!(status(&client, get("/")).await.unwrap(), 200);
                    tokio::time::sleep(MS).await;
                    number += 1;
                }
                number
            })
        })
        .collect();
    tokio::time::sleep(200 * MS).await;
    let connected: u64 = all.iter().map(TestEndpoint::connects).sum();
    for flip in 0..140 {
        let list: Vec<_> = all
            .iter()
            .map(|e| format!("{{ address: '{}' }}", e.addr()))
            .collect();
        let text = format!(
            "service: shop/reviews\nendpoints: {{ static: [{}] }}\n{}\n",
            list.join(", "),
            policies[flip % policies.len()]
        );
        let loaded = mesh_core::policy::text::load(&[mesh_core::policy::Source::new(
            "test.yaml",
            text.as_str(),
        )]);
        mesh.store()
            .apply(mesh_core::policy::Layer::File, loaded.resources)
            .unwrap();
        tokio::time::sleep(7 * MS).await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut number = 0;
    for caller in callers {
        number += caller.await.unwrap();
    }
    assert!(number > 1000, "{number}");
    let now: u64 = all.iter().map(TestEndpoint::connects).sum();
    assert!(
        now - connected <= 24,
        "{connected} connections before, {now} after"
    );
}
