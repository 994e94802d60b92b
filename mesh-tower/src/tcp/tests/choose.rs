//! Which endpoint, and what is done when it does not take the connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use mesh_core::error::ErrorKind;

use super::*;

fn client() -> Mesh {
    Mesh::builder("web").namespace("shop").build().unwrap()
}

/// Counts its connections and keeps them open.
async fn held() -> (SocketAddr, Arc<AtomicUsize>) {
    let open = Arc::new(AtomicUsize::new(0));
    let opens = open.clone();
    let addr = app(move |mut io| {
        let open = opens.clone();
        async move {
            open.fetch_add(1, SeqCst);
            let mut all = Vec::new();
            let _ = io.read_to_end(&mut all).await;
            open.fetch_sub(1, SeqCst);
        }
    })
    .await;
    (addr, open)
}

#[tokio::test]
async fn an_open_connection_is_load_until_it_ends() {
    let mesh = client();
    let (one, at_one) = held().await;
    let (two, at_two) = held().await;
    let policy = redis(&[one, two], false);
    apply(
        &mesh,
        &format!(
            "{policy}---\napiVersion: policy.mesh/v1alpha1\nkind: BackendPolicy\n\
             metadata: {{ name: lb, namespace: shop }}\n\
             spec: {{ targetRefs: [{{ kind: Service, name: redis }}], \
             loadBalancing: {{ algorithm: LeastRequest }} }}\n"
        ),
    );
    let mut tcp = mesh.tcp("redis:6379");
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(tcp.connect().await.unwrap());
    }
    until("all connections", || {
        at_one.load(SeqCst) + at_two.load(SeqCst) == 20
    })
    .await;
    let (a, b) = (at_one.load(SeqCst), at_two.load(SeqCst));
    println!("20 open connections over two endpoints: {a} and {b}");
    assert_eq!((a, b), (10, 10), "least in flight of two");
    // All of one end: the next ones go there.
    open.retain(|connection| connection.endpoint() == two);
    until("their end", || at_one.load(SeqCst) == 0).await;
    for _ in 0..10 {
        open.push(tcp.connect().await.unwrap());
    }
    until("the next ten", || at_one.load(SeqCst) == 10).await;
}

#[tokio::test]
async fn a_connection_that_fails_is_tried_elsewhere_and_the_endpoint_is_left_out() {
    let mesh = client();
    let (_keep, dead) = closed();
    let alive = echo().await;
    apply(&mesh, &redis(&[dead, alive], false));
    let mut tcp = mesh.tcp("redis:6379");
    for n in 0..50 {
        let connection = tcp.connect().await;
        let connection = connection.unwrap_or_else(|error| panic!("{n}: {error:#}"));
        assert_eq!(connection.endpoint(), alive);
    }
    let report = mesh.report();
    let at_dead = report
        .endpoints
        .iter()
        .find(|one| one.addr == dead)
        .unwrap();
    println!(
        "50 of 50 connected; the dead endpoint saw {} attempts and is {}",
        at_dead.calls, at_dead.state
    );
    assert!(at_dead.calls < 10, "{at_dead:?}");
    assert_ne!(at_dead.state, mesh_core::report::EndpointHealth::Available);
    assert_eq!((report.edges[0].calls, report.edges[0].failures), (50, 0));
    assert!(report.edges[0].rescued >= 1);
}

#[tokio::test]
async fn when_all_fail_the_error_tells_each_attempt() {
    let mesh = client();
    let (_keep, dead) = closed();
    let (_keep, dead_too) = closed();
    apply(&mesh, &redis(&[dead, dead_too], false));
    let error = mesh.tcp("redis:6379").connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
    assert_eq!(error.attempts().len(), 3, "{error:#}");
    assert_eq!(error.service(), Some("redis.shop"));
}

#[tokio::test]
async fn the_application_behind_a_peer_is_no_reason_to_lose_a_connection() {
    // Its mesh is there and lets us in, but nobody listens behind it.
    let authority = Authority::new();
    let (server, client) = (mesh(&authority, "redis"), mesh(&authority, "web"));
    let (_keep, dead) = closed();
    let (without, with) = (serve(&server, dead), serve(&server, echo().await));
    apply(
        &client,
        &redis(&[without.local_addr(), with.local_addr()], true),
    );
    let mut tcp = client.tcp("redis:6379");
    for _ in 0..20 {
        let connection = tcp.connect().await.unwrap();
        assert_eq!(connection.endpoint(), with.local_addr());
    }
}

#[tokio::test]
async fn the_ceiling_on_connections_holds_and_its_places_come_back() {
    let mesh = client();
    let (addr, open) = held().await;
    let policy = redis(&[addr], false);
    apply(
        &mesh,
        &format!(
            "{policy}---\napiVersion: policy.mesh/v1alpha1\nkind: BackendPolicy\n\
             metadata: {{ name: limit, namespace: shop }}\n\
             spec: {{ targetRefs: [{{ kind: Service, name: redis }}], \
             ceilings: {{ maxConnections: 2, maxPendingRequests: 1 }} }}\n"
        ),
    );
    let mut tcp = mesh.tcp("redis:6379");
    let first = tcp.connect().await.unwrap();
    let _second = tcp.connect().await.unwrap();
    let mut waiting = tokio::spawn({
        let mut tcp = tcp.clone();
        async move { tcp.connect().await }
    });
    until("the third waits", || {
        mesh.metrics_text()
            .contains("mesh_pool_waiting{service=\"shop/redis\"} 1")
    })
    .await;
    let error = tcp.connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Ceiling, "{error}");
    assert!(!waiting.is_finished());
    drop(first);
    soon("the place", &mut waiting).await.unwrap().unwrap();
    until("two are open", || open.load(SeqCst) == 2).await;
}

#[tokio::test]
async fn the_policy_declares_live_and_splits_by_weight() {
    let mesh = client();
    let (stable, at_stable) = held().await;
    let (canary, at_canary) = held().await;
    let both = |protocol: &str, weights: (u32, u32)| {
        let service = |name: &str, addr: SocketAddr| {
            format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: shop }}\n\
                 spec:\n  ports: [{{ port: 6379, appProtocol: {protocol} }}]\n  \
                 endpoints: {{ static: [{{ address: \"{addr}\" }}] }}\n---\n"
            )
        };
        let (a, b) = weights;
        format!(
            "{}{}apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
             metadata: {{ name: redis, namespace: shop }}\nspec:\n  \
             parentRefs: [{{ kind: Service, group: \"\", name: redis }}]\n  rules:\n  \
             - matches: [{{ path: {{ type: PathPrefix, value: /only-http }} }}]\n    \
             backendRefs: [{{ name: canary, port: 6379 }}]\n  \
             - backendRefs: [{{ name: redis, port: 6379, weight: {a} }}, \
             {{ name: canary, port: 6379, weight: {b} }}]\n",
            service("redis", stable),
            service("canary", canary),
        )
    };
    apply(&mesh, &both("http", (1, 0)));
    let mut tcp = mesh.tcp("redis:6379");
    assert!(!tcp.is_declared().await);
    apply(&mesh, &both("tcp", (1, 0)));
    soon("the policy in force", async {
        while !tcp.is_declared().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(tcp.connect().await.unwrap());
    }
    until("all at the stable one", || at_stable.load(SeqCst) == 20).await;
    apply(&mesh, &both("tcp", (1, 3)));
    soon("the new weights", async {
        while at_canary.load(SeqCst) == 0 {
            open.push(tcp.connect().await.unwrap());
            // The pace of the connections, of which one in four goes there once the weights are known.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    open.clear();
    until("their end", || at_canary.load(SeqCst) == 0).await;
    for _ in 0..200 {
        open.push(tcp.connect().await.unwrap());
    }
    until("all of them", || {
        at_stable.load(SeqCst) + at_canary.load(SeqCst) == 200
    })
    .await;
    let canary = at_canary.load(SeqCst);
    println!("{canary} of 200 connections at weight 3 of 4");
    assert!((120..=180).contains(&canary), "{canary}");
}

#[tokio::test]
async fn a_service_that_nobody_knows_is_an_error_with_a_code() {
    let mesh = client();
    let mut tcp = mesh.tcp("nobody.shop");
    assert!(!tcp.is_declared().await);
    let error = tcp.connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRoute, "{error}");
    let bad = mesh.tcp("not a name").connect().await.unwrap_err();
    assert_eq!(bad.kind(), ErrorKind::NoRoute);
}
