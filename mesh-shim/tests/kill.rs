//! One of two instances dies, its shim by `kill -9` or the application behind its shim: what was in flight on it fails,
//! and of that what may be repeated is rescued.

#![allow(clippy::print_stdout, reason = "says the figures that it asserts")]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use common::app::answering;
use common::authority::instance;
use common::{Authority, Scratch, Shim, until};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Empty};
use mesh_tower::Mesh;
use rustix::process::Signal;
use tower_service::Service as _;

const CALLERS: u64 = 20;
/// The work of the application for each request, so that some are in flight at any time.
const WORK: Duration = Duration::from_millis(5);

async fn shim(scratch: &Scratch, identity: &str, app: SocketAddr) -> Shim {
    let policy = scratch.at("policy.yaml");
    let (port, any) = (app.port().to_string(), "127.0.0.1:0");
    let mut shim = Shim::spawn(&[
        "proxy",
        "--as",
        "shop/legacy",
        "--port",
        &port,
        "--inbound",
        any,
        "--outbound",
        "off",
        "--health",
        any,
        "--metrics",
        any,
        "--identity",
        identity,
        "--policy",
        &policy,
    ]);
    shim.ready().await;
    shim
}

fn caller(authority: &Authority, inbound: &[SocketAddr]) -> Mesh {
    let endpoints = inbound.iter().map(|addr| instance("legacy", *addr));
    Mesh::builder("shop/web")
        .credentials(authority.credentials("web"))
        // All else is the default: what is in flight on one of the two is more than the ceiling of
        // retries (3 and a fifth of the calls).
        .policy_text("service: shop/legacy\nroute: [{ retry: { attempts: 2 } }]")
        .endpoint_infos("shop/legacy", endpoints)
        .build()
        .unwrap()
}

#[derive(Default)]
struct Score {
    calls: AtomicU64,
    failed: AtomicU64,
    in_flight: AtomicU64,
}

/// Two shims, each before an application.
struct Two {
    _scratch: Scratch,
    authority: Authority,
    shims: [Shim; 2],
}

impl Two {
    async fn before(apps: [SocketAddr; 2]) -> Self {
        let (scratch, authority) = (Scratch::new(), Authority::new());
        let identity = authority.identity(&scratch, "legacy");
        scratch.write(
            "policy.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: { name: x, namespace: shop }\nspec: {}\n",
        );
        let [one, other] = apps;
        let shims = [
            shim(&scratch, &identity, one).await,
            shim(&scratch, &identity, other).await,
        ];
        Self {
            _scratch: scratch,
            authority,
            shims,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn only_what_was_in_flight_on_the_killed_shim_may_fail() {
    let two = Two::before([answering(WORK).await, answering(WORK).await]).await;
    let killed = |shims: &[Shim; 2]| shims[0].signal(Signal::KILL);
    only_what_was_in_flight_fails(two, killed).await;
}

/// As if the callers had called the application itself: a linked service that dies loses no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn only_what_was_in_flight_in_the_killed_application_may_fail() {
    // It ends with all its connections in one moment, as a process that is killed does.
    let app = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let addr = app.spawn(answering(WORK)).await.unwrap();
    let two = Two::before([addr, answering(WORK).await]).await;
    only_what_was_in_flight_fails(two, |_| app.shutdown_background()).await;
}

async fn only_what_was_in_flight_fails(two: Two, kill: impl FnOnce(&[Shim; 2])) {
    let inbound = two.shims.each_ref().map(|shim| shim.port("inbound"));
    let mesh = caller(&two.authority, &inbound);
    let stop = Arc::new(AtomicBool::new(false));
    // GET may be repeated, POST may not once it was written.
    let scores: [Arc<Score>; 2] = Default::default();
    let mut callers = Vec::new();
    for n in 0..CALLERS {
        let (client, stop) = (mesh.client("legacy.shop"), stop.clone());
        let method = [Method::GET, Method::POST][(n % 2) as usize].clone();
        let score = scores[(n % 2) as usize].clone();
        callers.push(tokio::spawn(async move {
            while !stop.load(Relaxed) {
                let request = Request::builder()
                    .method(method.clone())
                    .uri("http://legacy.shop/x")
                    .body(Empty::<Bytes>::new())
                    .unwrap();
                score.in_flight.fetch_add(1, Relaxed);
                let ok = match client.clone().call(request).await {
                    Ok(answer) => {
                        answer.status().is_success() && answer.into_body().collect().await.is_ok()
                    }
                    Err(_) => false,
                };
                score.in_flight.fetch_sub(1, Relaxed);
                score.calls.fetch_add(1, Relaxed);
                score.failed.fetch_add(u64::from(!ok), Relaxed);
            }
        }));
    }
    let calls = || {
        scores
            .iter()
            .map(|one| one.calls.load(Relaxed))
            .sum::<u64>()
    };
    let at_least = async |n: u64| {
        until(&format!("{n} calls are made"), async || calls() >= n).await;
    };
    at_least(1_000).await;
    let failed = || scores.each_ref().map(|one| one.failed.load(Relaxed));
    assert_eq!(failed(), [0, 0], "before the kill");
    kill(&two.shims);
    let in_flight = scores[1].in_flight.load(Relaxed);
    at_least(calls() + 200).await;
    let at_once = failed();
    at_least(calls() + 2_000).await;
    stop.store(true, Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    let rescued: u64 = mesh.report().edges.iter().map(|edge| edge.rescued).sum();
    println!(
        "{} calls; {in_flight} POSTs in flight at its death, {} of them failed; GET: {} failed, {rescued} rescued",
        calls(),
        failed()[1],
        failed()[0],
    );
    assert_eq!(failed()[0], 0, "what may be repeated is rescued");
    assert!(failed()[1] <= CALLERS / 2, "more than were in flight");
    assert_eq!(failed(), at_once, "later calls go to the other instance");
    assert!(rescued > 0, "nothing was in flight on the one that died");
    let [_, mut other] = two.shims;
    other.signal(Signal::TERM);
    assert_eq!(other.end().await.code(), Some(0));
}
