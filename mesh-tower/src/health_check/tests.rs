//! On paused time, against endpoints in memory.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::Response;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_core::balance::{EndpointInfo, EndpointSet};
use mesh_core::ejection::Detector;
use mesh_core::policy::EjectionPolicy;
use mesh_core::policy::model::{HealthPolicy, HealthProbe, HealthTiming};
use mesh_core::report::EndpointHealth::{self, Available, Ejected, Unhealthy};
use tokio::sync::watch;

use super::Checks;
use super::probe::UNIMPLEMENTED;
use crate::runtime;
use crate::telemetry::Recorder;
use crate::testkit::{Reply, TestEndpoint, TestNet};
use crate::transport::{BoxIo, Connect, PoolConfig};

fn http() -> HealthPolicy {
    HealthPolicy::new(HealthProbe::Http {
        path: "/healthz".into(),
        statuses: [(200, 299)].into(),
    })
    .with_timing(HealthTiming::default().with_jitter_percent(0))
}

fn grpc() -> HealthPolicy {
    let service = "shop.Reviews".into();
    HealthPolicy::new(HealthProbe::Grpc { service }).with_timing(*http().timing())
}

fn set(addrs: &[&str]) -> EndpointSet {
    let addrs = addrs.iter().map(|addr| addr.parse().expect("an address"));
    EndpointSet::new(addrs.map(EndpointInfo::new))
}

fn check(
    checks: &mut Checks,
    policy: Option<&HealthPolicy>,
    set: &EndpointSet,
    connect: Arc<dyn Connect>,
) {
    checks.update(
        policy,
        (1..).zip(set.iter()),
        |state| (PoolConfig::new(state.addr()), connect.clone()),
        &Arc::from("shop/reviews"),
        &Recorder::disabled(),
    );
}

fn states(set: &EndpointSet) -> Vec<EndpointHealth> {
    set.iter().map(|one| one.health()).collect()
}

async fn seconds(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

/// Answers with a status that can be set.
fn settable(endpoint: &TestEndpoint) -> Arc<AtomicU16> {
    let status = Arc::new(AtomicU16::new(200));
    let shared = status.clone();
    endpoint.decide(move |_| Reply::new(shared.load(SeqCst), "how it is"));
    status
}

struct Two {
    net: TestNet,
    set: EndpointSet,
    one: TestEndpoint,
    two: TestEndpoint,
    checks: Checks,
}

fn two(policy: &HealthPolicy) -> Two {
    let net = TestNet::new();
    let (one, two) = (net.endpoint("10.0.0.1:80"), net.endpoint("10.0.0.2:80"));
    let set = set(&["10.0.0.1:80", "10.0.0.2:80"]);
    let mut checks = Checks::default();
    check(&mut checks, Some(policy), &set, Arc::new(net.clone()));
    Two {
        net,
        set,
        one,
        two,
        checks,
    }
}

#[tokio::test(start_paused = true)]
async fn thresholds_decide_and_the_first_check_is_at_once() {
    let bench = two(&http());
    let first = settable(&bench.one);
    seconds(0.1).await;
    assert_eq!((bench.one.calls(), bench.two.calls()), (1, 1), "at once");
    first.store(503, SeqCst);
    seconds(20.0).await;
    assert_eq!(states(&bench.set), [Available; 2], "two failures of three");
    seconds(10.0).await;
    assert_eq!(states(&bench.set), [Unhealthy, Available]);
    assert_eq!(bench.set.available(runtime::now()), 1);
    first.store(200, SeqCst);
    seconds(10.0).await;
    assert_eq!(states(&bench.set)[0], Unhealthy, "one pass of two");
    seconds(10.0).await;
    assert_eq!(states(&bench.set), [Available; 2]);
    assert_eq!(bench.two.connects(), 1, "its connection is kept");
}

#[tokio::test(start_paused = true)]
async fn envoy_successful_active_health_check_unejects_the_host() {
    let bench = two(&http());
    seconds(1.0).await;
    let (detector, policy) = (Detector::new(), EjectionPolicy::default());
    for _ in 0..policy.consecutive_errors() {
        detector.record(&policy, &bench.set, 0, false, runtime::now());
    }
    assert_eq!(states(&bench.set), [Ejected, Available]);
    // Its time would be 30 s.
    seconds(10.0).await;
    assert_eq!(states(&bench.set), [Available; 2]);
}

#[tokio::test(start_paused = true)]
async fn checks_withdrawn_are_forgotten_and_changed_ones_go_on() {
    let mut bench = two(&http());
    settable(&bench.one).store(500, SeqCst);
    seconds(1.0).await;
    let connect: Arc<dyn Connect> = Arc::new(bench.net.clone());
    assert_eq!(states(&bench.set)[0], Unhealthy);
    let timing = http().timing().with_interval(Duration::from_secs(2));
    let faster = http().with_timing(timing);
    check(
        &mut bench.checks,
        Some(&faster),
        &bench.set,
        connect.clone(),
    );
    assert_eq!(states(&bench.set)[0], Unhealthy, "kept");
    let before = bench.two.calls();
    seconds(20.5).await;
    assert_eq!(bench.two.calls(), before + 11);
    check(&mut bench.checks, None, &bench.set, connect);
    assert_eq!(states(&bench.set), [Available; 2]);
    let before = bench.two.calls();
    seconds(60.0).await;
    assert_eq!(bench.two.calls(), before, "nobody asks any more");
}

#[tokio::test(start_paused = true)]
async fn a_tcp_check_makes_a_connection_and_no_request() {
    let timing = http().timing().with_interval(Duration::from_secs(1));
    let bench = two(&HealthPolicy::new(HealthProbe::Tcp).with_timing(timing));
    bench.one.kill();
    seconds(0.1).await;
    assert_eq!(states(&bench.set), [Unhealthy, Available]);
    bench.one.revive();
    seconds(3.0).await;
    assert_eq!(states(&bench.set), [Available; 2]);
    assert!(bench.set[0].is_reachable());
    assert_eq!((bench.one.calls(), bench.two.calls()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn no_answer_in_time_is_a_failure_and_its_connection_is_not_asked_again() {
    let bench = two(&http());
    bench
        .one
        .reply(Reply::new(200, "late").after(Duration::from_secs(3600)));
    seconds(0.9).await;
    assert_eq!(states(&bench.set), [Available; 2]);
    seconds(0.2).await;
    assert_eq!(states(&bench.set), [Unhealthy, Available]);
    seconds(11.0).await;
    assert_eq!((bench.one.connects(), bench.two.connects()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn the_cap_holds_and_everyone_has_a_turn() {
    let net = TestNet::new();
    let addrs: Vec<String> = (1..=40).map(|n| format!("10.0.0.{n}:80")).collect();
    let addrs: Vec<&str> = addrs.iter().map(String::as_str).collect();
    let slow = Reply::new(200, "well").after(Duration::from_millis(500));
    let endpoints: Vec<_> = addrs.iter().map(|addr| net.endpoint(addr)).collect();
    endpoints.iter().for_each(|one| one.reply(slow.clone()));
    let set = set(&addrs);
    let mut checks = Checks::default();
    let policy = http().with_timing(http().timing().with_max_concurrent(4));
    check(&mut checks, Some(&policy), &set, Arc::new(net));
    let asked = || endpoints.iter().map(TestEndpoint::calls).sum::<usize>();
    seconds(0.1).await;
    assert_eq!(asked(), 4);
    seconds(0.5).await;
    assert_eq!(asked(), 8);
    seconds(4.5).await;
    assert_eq!(asked(), 40);
}

/// A server of `grpc.health.v1` whose state can be set; `None` ends the streams.
#[derive(Clone)]
struct Health {
    state: watch::Receiver<Option<u8>>,
    watch: bool,
    check: bool,
    watches: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
}

fn health(watch: bool, check: bool) -> (watch::Sender<Option<u8>>, Health) {
    let (set, state) = watch::channel(Some(1));
    let health = Health {
        state,
        watch,
        check,
        watches: Arc::default(),
        asked: Arc::default(),
    };
    (set, health)
}

fn message(state: u8) -> Result<Frame<Bytes>, Infallible> {
    Ok(Frame::data(Bytes::from(vec![0, 0, 0, 0, 2, 8, state])))
}

fn trailers(code: u32) -> Result<Frame<Bytes>, Infallible> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.into());
    Ok(Frame::trailers(trailers))
}

impl Health {
    fn answer(self, path: &str) -> Vec<Result<Frame<Bytes>, Infallible>> {
        let state = *self.state.borrow();
        match (path, state) {
            ("/grpc.health.v1.Health/Check", Some(state)) if self.check => {
                self.asked.fetch_add(1, SeqCst);
                vec![message(state), trailers(0)]
            }
            _ => vec![trailers(UNIMPLEMENTED)],
        }
    }

    fn stream(self) -> impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> {
        self.watches.fetch_add(1, SeqCst);
        let changes = self.state.clone();
        futures_util::stream::unfold((changes, true), |(mut changes, first)| async move {
            if !first {
                changes.changed().await.ok()?;
            }
            let state = *changes.borrow_and_update();
            Some((message(state?), (changes, false)))
        })
    }
}

impl Connect for Health {
    fn connect(
        &self,
        _: std::net::SocketAddr,
    ) -> futures_core::future::BoxFuture<'static, std::io::Result<BoxIo>> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let health = self.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request: http::Request<_>| {
                let _: &hyper::body::Incoming = request.body();
                let health = health.clone();
                async move {
                    let path = request.uri().path();
                    let streamed = health.watch && path == "/grpc.health.v1.Health/Watch";
                    let body = if streamed {
                        http_body_util::Either::Left(StreamBody::new(health.stream()))
                    } else {
                        let frames = futures_util::stream::iter(health.answer(path));
                        http_body_util::Either::Right(StreamBody::new(frames))
                    };
                    let response = Response::builder().header("content-type", "application/grpc");
                    Ok::<_, Infallible>(response.body(body).expect("a response"))
                }
            });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            // A client that goes away is no fault of the test.
            let _ = connection
                .serve_connection(TokioIo::new(far), service)
                .await;
        });
        let near: BoxIo = Box::new(near);
        Box::pin(std::future::ready(Ok(near)))
    }
}

fn watched(health: &Health) -> (EndpointSet, Checks) {
    let set = set(&["10.0.0.1:80"]);
    let mut checks = Checks::default();
    check(&mut checks, Some(&grpc()), &set, Arc::new(health.clone()));
    (set, checks)
}

#[tokio::test(start_paused = true)]
async fn a17_watch_follows_the_server_without_asking_again() {
    let (say, health) = health(true, false);
    let (set, _checks) = watched(&health);
    seconds(0.1).await;
    assert_eq!(states(&set), [Available]);
    say.send_replace(Some(2));
    seconds(0.1).await;
    assert_eq!(states(&set), [Unhealthy], "believed at once");
    say.send_replace(Some(1));
    seconds(0.1).await;
    assert_eq!(states(&set), [Available]);
    seconds(600.0).await;
    assert_eq!(health.watches.load(SeqCst), 1);
    // SERVICE_UNKNOWN.
    say.send_replace(Some(3));
    seconds(0.1).await;
    assert_eq!(states(&set), [Unhealthy]);
}

#[tokio::test(start_paused = true)]
async fn a17_a_stream_that_ends_is_opened_anew_and_its_end_takes_nobody_out() {
    let (say, health) = health(true, false);
    let (set, _checks) = watched(&health);
    seconds(5.0).await;
    say.send_replace(None);
    tokio::task::yield_now().await;
    say.send_replace(Some(1));
    seconds(3.0).await;
    assert_eq!(states(&set), [Available]);
    assert_eq!(health.watches.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a17_unimplemented_falls_back_to_check_and_then_to_healthy() {
    let (say, asked) = health(false, true);
    let (set, _checks) = watched(&asked);
    seconds(0.1).await;
    assert_eq!(asked.asked.load(SeqCst), 1);
    say.send_replace(Some(2));
    seconds(31.0).await;
    assert_eq!(states(&set), [Unhealthy]);

    let (_say, neither) = health(false, false);
    let (set, _checks) = watched(&neither);
    seconds(60.0).await;
    assert_eq!(states(&set), [Available]);
    assert!(set[0].checks().is_known());
}
