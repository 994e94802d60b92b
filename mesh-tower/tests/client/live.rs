use std::sync::Arc;
use std::time::Duration;

use mesh_core::balance::EndpointInfo;
use mesh_core::name::ServiceName;
use mesh_core::policy::text::{Source, load};
use mesh_core::policy::{Layer, Resource};
use mesh_tower::testkit::{Reply, TestNet};

use crate::support::{call, get, status};

fn resources(text: &str) -> Vec<Arc<Resource>> {
    let loaded = load(&[Source::new("test.yaml", text)]);
    assert!(loaded.diagnostics.0.is_empty(), "{:?}", loaded.diagnostics);
    loaded.resources
}

fn reviews() -> ServiceName {
    ServiceName::new("shop", "reviews").unwrap()
}

fn infos(addrs: &[&str]) -> Option<Vec<EndpointInfo>> {
    Some(
        addrs
            .iter()
            .map(|addr| EndpointInfo::new(addr.parse().unwrap()))
            .collect(),
    )
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_flips_a_thousand_times_loses_no_call() {
    let net = TestNet::new();
    for addr in ["10.0.0.1:80", "10.0.0.2:80", "10.0.1.1:80"] {
        net.endpoint(addr)
            .reply(Reply::new(200, "ok").after(Duration::from_millis(3)));
    }
    let base = |route: &str| {
        resources(&format!(
            "service: shop/reviews-v1\n\
             endpoints: {{ static: [{{ address: '10.0.0.1:80' }}, {{ address: '10.0.0.2:80' }}] }}\n\
             ---\n\
             service: shop/reviews-v2\n\
             endpoints: {{ static: [{{ address: '10.0.1.1:80' }}] }}\n\
             ---\n\
             service: shop/reviews\n\
             {route}\n"
        ))
    };
    // Weights, tunables, protocol (hence connections) and removed backends.
    let policies = [
        base("route: [{ backends: { reviews-v1: 100 } }]"),
        base("route: [{ backends: { reviews-v1: 50, reviews-v2: 50 }, timeout: 3s }]"),
        base(
            "route: [{ backends: { reviews-v2: 100 }, timeout: 2s }]\n\
              backend: { outlierDetection: { consecutiveErrors: 7 } }",
        ),
    ];
    let mesh = net.mesh("web").build().unwrap();
    mesh.store()
        .apply(Layer::File, policies[0].clone())
        .unwrap();
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let client = mesh.client("reviews.shop");
            tokio::spawn(async move {
                let mut calls = 0;
                for _ in 0..500 {
                    assert_eq!(status(&client, get("/")).await.unwrap(), 200);
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    for flip in 0..1_000 {
        mesh.store()
            .apply(Layer::File, policies[flip % 3].clone())
            .unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for caller in callers {
        assert_eq!(caller.await.unwrap(), 500);
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_tunable_keeps_what_is_known_of_the_endpoints() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.reply(Reply::endless(200));
    let text = |errors: u32| {
        format!(
            "service: shop/reviews\n\
             endpoints: {{ static: [{{ address: '10.0.0.1:80' }}] }}\n\
             backend: {{ outlierDetection: {{ consecutiveErrors: {errors} }} }}\n"
        )
    };
    let mesh = net.mesh("web").build().unwrap();
    mesh.store()
        .apply(Layer::File, resources(&text(5)))
        .unwrap();
    let open = call(&mesh.client("reviews.shop"), get("/")).await.unwrap();
    mesh.store()
        .apply(Layer::File, resources(&text(9)))
        .unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(mesh.report().endpoints[0].in_flight, 1, "counters survive");
    drop(open);
    assert_eq!(mesh.report().endpoints[0].in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_refused_policy_keeps_the_last_good_one() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    let good = "service: shop/reviews\nendpoints: { static: [{ address: '10.0.0.1:80' }] }\n";
    let mesh = net.mesh("web").policy_text(good).build().unwrap();
    let bad = "service: shop/other\nroute: [{ backends: { other: 0 } }]\n";
    assert!(mesh.store().apply(Layer::File, resources(bad)).is_err());
    assert_eq!(
        status(&mesh.client("reviews.shop"), get("/"))
            .await
            .unwrap(),
        200
    );
    assert_eq!(one.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn discovery_does_not_take_the_last_working_endpoint_away() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.reply(Reply::endless(200));
    let mesh = net.mesh("web").build().unwrap();
    let (feed, client) = (mesh.feed(), mesh.client("reviews.shop"));
    feed.endpoints(&reviews(), infos(&["10.0.0.1:80"]));
    // A connection that works.
    let open = call(&client, get("/")).await.unwrap();
    one.answer(200, "");
    feed.endpoints(&reviews(), infos(&[]));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(status(&client, get("/")).await.unwrap(), 200);
    // Others are known: now its word counts.
    let two = net.endpoint("10.0.0.2:80");
    feed.endpoints(&reviews(), infos(&["10.0.0.2:80"]));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let before = one.calls();
    for _ in 0..10 {
        assert_eq!(status(&client, get("/")).await.unwrap(), 200);
    }
    assert_eq!((one.calls(), two.calls()), (before, 10));
    drop(open);
}

#[tokio::test(start_paused = true)]
async fn refused_connections_beat_stale_discovery() {
    let net = TestNet::new();
    let old: Vec<_> = (1..=3)
        .map(|n| net.endpoint(&format!("10.0.0.{n}:80")))
        .collect();
    let new = net.endpoint("10.0.1.1:80");
    let mesh = net.mesh("web").build().unwrap();
    let (feed, client) = (mesh.feed(), mesh.client("reviews.shop"));
    feed.endpoints(
        &reviews(),
        infos(&["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.1.1:80"]),
    );
    assert_eq!(status(&client, get("/")).await.unwrap(), 200);
    for endpoint in &old {
        endpoint.kill();
    }
    let mut failed = 0;
    for _ in 0..200 {
        failed += u32::from(status(&client, get("/")).await.is_err());
    }
    assert!(new.calls() >= 190);
    assert!(
        failed <= 2,
        "{failed} calls were lost before the dead endpoints were known"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_wanted_includes_the_backends_of_routes() {
    let net = TestNet::new();
    let mesh = net.mesh("web").build().unwrap();
    let feed = mesh.feed();
    let _client = mesh.client("reviews.shop");
    feed.apply(resources(
        "service: shop/reviews\nroute: [{ backends: { reviews-v1: 1 } }]\n---\nservice: shop/reviews-v1\n",
    ))
    .unwrap();
    let mut wanted = feed.wanted();
    let all = tokio::time::timeout(
        Duration::from_secs(1),
        wanted.wait_for(|all| all.len() == 2),
    )
    .await
    .unwrap()
    .unwrap()
    .clone();
    assert_eq!(
        all.iter()
            .map(|name| name.name().to_owned())
            .collect::<Vec<_>>(),
        ["reviews", "reviews-v1"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_subset_that_is_called_by_its_own_name_gets_the_endpoints_of_the_whole() {
    let net = TestNet::new();
    let [old, new] = ["10.0.0.1:80", "10.0.0.2:80"].map(|addr| net.endpoint(addr));
    let mesh = net.mesh("web").build().unwrap();
    let (feed, client) = (mesh.feed(), mesh.client("reviews-v2.shop"));
    feed.apply(resources(
        "service: shop/reviews\nports: [{ port: 80 }]\n---\n\
         service: shop/reviews-v2\nsubsetOf: reviews\nselector: { version: v2 }\n",
    ))
    .unwrap();
    let mut wanted = feed.wanted();
    let whole = wanted.wait_for(|all| all.contains(&reviews()));
    let told = tokio::time::timeout(Duration::from_secs(1), whole).await;
    told.expect("nobody else calls the whole").unwrap();
    let infos = [(&old, "v1"), (&new, "v2")].map(|(endpoint, version)| {
        let mut info = EndpointInfo::new(endpoint.addr());
        info.labels = Arc::new([("version".to_owned(), version.to_owned())].into());
        info
    });
    feed.endpoints(&reviews(), Some(infos.into()));
    for _ in 0..4 {
        assert_eq!(status(&client, get("/")).await.unwrap(), 200);
    }
    assert_eq!((old.calls(), new.calls()), (0, 4));
}

#[tokio::test(start_paused = true)]
async fn a_changed_policy_file_applies_and_a_wrong_one_does_not() {
    let net = TestNet::new();
    let [one, two] = ["10.0.0.1:80", "10.0.0.2:80"].map(|addr| net.endpoint(addr));
    let text = |addr: std::net::SocketAddr| {
        format!("service: shop/reviews\nendpoints: {{ static: [{{ address: '{addr}' }}] }}\n")
    };
    let name = format!(
        "mesh-policy-{}-{}.yaml",
        std::process::id(),
        fastrand::u64(..)
    );
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, text(one.addr())).unwrap();
    let mesh = net.mesh("web").policy_file(&path).build().unwrap();
    let client = mesh.client("reviews.shop");
    assert_eq!(status(&client, get("/")).await.unwrap(), 200);

    std::fs::write(&path, "service: shop/reviews\nendpoint: 7\n").unwrap();
    let mut policy = mesh.store().watch();
    policy.mark_unchanged();
    let changed = tokio::time::timeout(Duration::from_secs(5), policy.changed()).await;
    assert!(changed.is_err(), "a policy with a mistake was applied");
    assert_eq!(status(&client, get("/")).await.unwrap(), 200);

    std::fs::write(&path, text(two.addr())).unwrap();
    tokio::time::timeout(Duration::from_secs(5), policy.changed())
        .await
        .unwrap()
        .unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(status(&client, get("/")).await.unwrap(), 200);
    assert_eq!((one.calls(), two.calls()), (2, 1));
    std::fs::remove_file(&path).unwrap();

    let missing = net.mesh("web").policy_file("/nowhere/policy.yaml").build();
    assert_eq!(missing.unwrap_err().code().to_string(), "M3000");
}
