//! The four ceilings of a destination: each names itself, and each can change while it is in use.

use std::sync::Arc;
use std::time::Duration;

use mesh_core::policy::text::{Source, load};
use mesh_core::policy::{Layer, Resource};
use mesh_tower::testkit::{Reply, TestEndpoint, TestNet};
use mesh_tower::{Mesh, MeshClient};

use crate::support::{call, code, get, grpc, status};

fn resources(ceilings: &str) -> Vec<Arc<Resource>> {
    let text = format!(
        "service: shop/reviews\n\
         route: [{{ timeout: 10s, attemptTimeout: 4s, retry: {{ attempts: 1, codes: [503], backoff: 1s }} }}]\n\
         backend:\n  loadBalancing: {{ algorithm: RoundRobin }}\n  \
         retryBudget: {{ percent: 0, interval: 10s, minRetriesPerSecond: 10 }}\n  \
         ceilings: {{ {ceilings} }}\n"
    );
    let loaded = load(&[Source::new("test.yaml", text)]);
    assert!(loaded.diagnostics.0.is_empty(), "{:?}", loaded.diagnostics);
    loaded.resources
}

fn mesh(net: &TestNet, ceilings: &str, endpoints: &[TestEndpoint]) -> (Mesh, MeshClient) {
    let builder = net.mesh("web").resources(resources(ceilings));
    let addrs = endpoints.iter().map(TestEndpoint::addr);
    let mesh = match endpoints {
        [] => builder.build().unwrap(),
        _ => builder.endpoints("reviews.shop", addrs).build().unwrap(),
    };
    let client = mesh.client("reviews.shop");
    (mesh, client)
}

fn start(client: &MeshClient) -> tokio::task::JoinHandle<String> {
    let client = client.clone();
    tokio::spawn(async move { code(status(&client, get("/")).await) })
}

/// Lets all tasks come to rest.
async fn rest() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn calls_over_the_pending_ceiling_do_not_wait_for_an_endpoint() {
    let net = TestNet::new();
    let (mesh, client) = mesh(&net, "maxPendingRequests: 1", &[]);
    let waits = start(&client);
    rest().await;
    let error = call(&client, get("/")).await.unwrap_err();
    assert_eq!(error.code().to_string(), "M2005");
    assert!(error.to_string().contains("maxPendingRequests"), "{error}");

    mesh.store()
        .apply(Layer::File, resources("maxPendingRequests: 2"))
        .unwrap();
    rest().await;
    let also = start(&client);
    rest().await;
    let third = call(&client, get("/")).await.unwrap_err();
    assert_eq!(third.code().to_string(), "M2005", "the first still counts");
    assert_eq!(waits.await.unwrap(), "M2002");
    assert_eq!(also.await.unwrap(), "M2002");
    let text = mesh.metrics_text();
    let counted = "mesh_ceiling_reached_total{service=\"shop/reviews\",reason=\"pending\"} 2";
    assert!(text.contains(counted), "{text}");
}

#[tokio::test(start_paused = true)]
async fn connections_are_limited_over_all_endpoints() {
    let net = TestNet::new();
    let all = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"].map(|addr| net.endpoint(addr));
    for one in &all {
        one.reply(Reply::new(200, "").after(Duration::from_secs(1)));
    }
    let ceilings = "maxConnections: 2, maxPendingRequests: 1";
    let (mesh, client) = mesh(&net, ceilings, &all);
    let connects = || all.iter().map(TestEndpoint::connects).sum::<u64>();
    let calls: Vec<_> = (0..3).map(|_| start(&client)).collect();
    rest().await;
    assert_eq!(connects(), 2, "the third waits");
    let refused = call(&client, get("/")).await.unwrap_err();
    assert_eq!(refused.code().to_string(), "M2005");
    assert!(refused.to_string().contains("maxPendingRequests"));

    let raised = "maxConnections: 3, maxPendingRequests: 1";
    mesh.store().apply(Layer::File, resources(raised)).unwrap();
    rest().await;
    assert_eq!(connects(), 3, "a raised limit lets the waiting call go on");
    for call in calls {
        assert_eq!(call.await.unwrap(), "200");
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_was_used_first_does_not_keep_the_others_out() {
    for grpc_calls in [false, true] {
        let net = TestNet::new();
        let all = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"].map(|addr| net.endpoint(addr));
        for one in &all {
            let reply = if grpc_calls {
                Reply::grpc(0)
            } else {
                Reply::new(200, "")
            };
            one.reply(reply.after(Duration::from_millis(10)));
        }
        let (_mesh, client) = mesh(&net, "maxConnections: 1", &all);
        let request = move || if grpc_calls { grpc("/a.B/C") } else { get("/") };
        // One after the other: what is idle makes room.
        for _ in 0..6 {
            assert_eq!(code(status(&client, request()).await), "200");
        }
        // All at once: what comes free makes room.
        let calls: Vec<_> = (0..12)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { code(status(&client, request()).await) })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap(), "200", "gRPC: {grpc_calls}");
        }
        assert!(all.iter().all(|one| one.calls() > 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_over_its_ceiling_is_not_made_and_the_story_says_so() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    // It may still be at work on what took too long: that is load.
    one.reply(Reply::hang());
    let (mesh, client) = mesh(&net, "maxRetries: 1", std::slice::from_ref(&one));
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { call(&client, get("/")).await.unwrap_err() })
        })
        .collect();
    let mut stories = Vec::new();
    for call in calls {
        stories.push(format!("{:#}", call.await.unwrap()));
    }
    let refused = stories.iter().filter(|story| story.contains("maxRetries"));
    assert_eq!(refused.count(), 3, "{stories:#?}");
    assert_eq!(one.calls(), 5);
    let text = mesh.metrics_text();
    let counted = "mesh_ceiling_reached_total{service=\"shop/reviews\",reason=\"retries\"} 3";
    assert!(text.contains(counted), "{text}");
    // The place comes back with the retry's end.
    let error = call(&client, get("/")).await.unwrap_err();
    assert!(!format!("{error:#}").contains("maxRetries"), "{error:#}");
}

#[tokio::test(start_paused = true)]
async fn calls_over_the_ceiling_of_calls_are_told_which() {
    let net = TestNet::new();
    let one = net.endpoint("10.0.0.1:80");
    one.reply(Reply::new(200, "").after(Duration::from_secs(1)));
    let (_mesh, client) = mesh(&net, "maxRequests: 1", &[one]);
    let first = start(&client);
    rest().await;
    let error = call(&client, get("/")).await.unwrap_err();
    assert_eq!(error.code().to_string(), "M2005");
    assert!(error.to_string().contains("maxRequests"), "{error}");
    assert_eq!(first.await.unwrap(), "200");
}
