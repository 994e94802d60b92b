//! One shim takes over from another, and who watches its registration sees nothing of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::Request;
use mesh_tower::{Mesh, MeshBody};
use tower_service::Service as _;

use crate::alone;
use crate::common::{Control, Role, Scratch, until};
use crate::node::{LEASE, app, shim};

const POLICY: &str =
    "apiVersion: v1\nkind: Service\nmetadata: { name: api, namespace: shop }\nspec: {}\n";

/// Whether a member has been told of the endpoint.
fn has(watcher: &Mesh, addr: SocketAddr) -> bool {
    let endpoints = watcher.report().endpoints;
    endpoints.iter().any(|one| one.addr == addr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_sees_no_moment_without_the_endpoint_of_a_shim_that_is_taken_over() {
    let _alone = alone().await;
    let scratch = Scratch::new();
    let control = Control::start(&scratch.path("c"), 0).await;
    control.apply(POLICY).await;
    let app = app();
    let state = scratch.path("s");
    std::fs::create_dir_all(&state).expect("made");
    let api = format!("shop/api={},inbound=127.0.0.1:0", app.local_addr().port());
    let start = async || Role::start(shim(&control, &state, std::slice::from_ref(&api))).await;
    // Another instance: a member would keep the last one whatever it is told.
    let hop = control
        .hop("api", &scratch.path("h"), &["--listen", "127.0.0.1:0"])
        .await;
    // Dropped, one would be killed.
    let mut shims = vec![start().await];
    let inbound: SocketAddr = shims[0].facts["shop/api.inbound"]
        .parse()
        .expect("an address");

    let watcher = control.member("shop/web", &scratch.path("w")).await;
    let call = async || {
        let request = Request::get("/")
            .body(MeshBody::empty())
            .expect("a request");
        watcher.client("api.shop").call(request).await
    };
    call().await.expect("an answer");
    until("the endpoint is there", async || has(&watcher, inbound)).await;

    let (looks, gaps) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let looking = tokio::spawn({
        let (watcher, looks, gaps) = (watcher.clone(), looks.clone(), gaps.clone());
        async move {
            loop {
                looks.fetch_add(1, Relaxed);
                gaps.fetch_add(u64::from(!has(&watcher, inbound)), Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    for round in 1..=2 {
        let began = Instant::now();
        let next = start().await;
        assert_eq!(next.facts["shop/api.inbound"], inbound.to_string());
        // The newcomer is there already: it was ready. The hop is the other.
        until("the one before is gone", async || {
            control.clients("shop/api").await.len() == 2
        })
        .await;
        println!("takeover {round}: {:?}", began.elapsed());
        shims.push(next);
    }
    // The first ones' leases would have ended by now.
    let last = Instant::now();
    until("a lease is over", async || {
        last.elapsed() > LEASE + Duration::from_secs(2)
    })
    .await;
    let (looks, gaps) = (looks.load(Relaxed), gaps.load(Relaxed));
    println!("{looks} looks at what a member was told: {gaps} without the endpoint");
    assert!(looks > 5_000, "{looks}");
    assert_eq!(gaps, 0);
    looking.abort();

    // The watcher would have seen it.
    shims.pop().expect("the last").stop().await;
    until("the endpoint goes with the last shim", async || {
        !has(&watcher, inbound)
    })
    .await;
    hop.stop().await;
    app.shutdown().await;
}
