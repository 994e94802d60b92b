//! Every public layer through one contract: readiness, clone, drop before call, drop mid-flight,
//! error kept, and a call that ends when its body ends.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use mesh_core::balance::{EndpointInfo, EndpointSet};
use mesh_core::error::{ErrorKind, MeshError};
use mesh_core::name::ServiceName;
use mesh_core::policy::{
    self, BalancePolicy, BreakerPolicy, ConcurrencyAlgorithm, ConcurrencyPolicy, CriticalityPolicy,
    EjectionPolicy, HedgePolicy, QueuePolicy, RateLimit, RetryPolicy, ThrottlePolicy, text::Source,
    validate::Options,
};
use mesh_core::route::RouteTable;
use mesh_tower::ejection::{EjectionLayer, Outliers};
use mesh_tower::{
    BoxError, MeshBody, access, access_log, attempt, breaker, bulkhead, catch_panic, ceiling,
    coalesce, criticality, deadline, endpoint, fallback, headers, health, hedge, load_report,
    metrics, overload, ratelimit, rescue, retry, route, server, telemetry, throttle, timeout,
    trace,
};
use tower_layer::Layer;
use tower_service::Service;

use crate::support::get;

/// A service that has to be made ready before each call, and says so loudly.
struct Probe {
    ready: bool,
    pending: usize,
    outcome: Outcome,
    flying: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Answer,
    /// Two frames, and the call goes on until the body has ended.
    Stream,
    Fail,
    Hang,
}

struct Flying(Arc<AtomicUsize>);

impl Drop for Flying {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Clone for Probe {
    fn clone(&self) -> Self {
        // Readiness is not cloned.
        Self {
            ready: false,
            pending: 0,
            outcome: self.outcome,
            flying: self.flying.clone(),
        }
    }
}

impl Service<Request<MeshBody>> for Probe {
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<MeshBody>, MeshError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        if self.pending > 0 {
            self.pending -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<MeshBody>) -> Self::Future {
        assert!(
            std::mem::replace(&mut self.ready, false),
            "called without being ready"
        );
        self.flying.fetch_add(1, Ordering::SeqCst);
        let flying = Flying(self.flying.clone());
        let outcome = self.outcome;
        Box::pin(async move {
            let flying = flying;
            match outcome {
                Outcome::Stream => Ok(Response::new(two_frames().with_guard(flying))),
                Outcome::Answer => Ok(Response::new(MeshBody::full("answer"))),
                Outcome::Fail => Err(MeshError::new(ErrorKind::Denied, "not you")),
                Outcome::Hang => std::future::pending().await,
            }
        })
    }
}

fn two_frames() -> MeshBody {
    let frames = ["an ", "answer"].map(|part| Ok::<_, Infallible>(Frame::data(part.into())));
    MeshBody::new(StreamBody::new(futures_util::stream::iter(frames)))
}

fn probe(outcome: Outcome, pending: usize) -> (Probe, Arc<AtomicUsize>) {
    let flying = Arc::new(AtomicUsize::new(0));
    (
        Probe {
            ready: false,
            pending,
            outcome,
            flying: flying.clone(),
        },
        flying,
    )
}

/// The layers that were put through the contract, by the names of their types.
#[derive(Default)]
struct Seen(BTreeSet<&'static str>);

impl Seen {
    async fn contract<L>(&mut self, name: &str, layer: L)
    where
        L: Layer<Probe>,
        L::Service: Service<Request<MeshBody>, Response = Response<MeshBody>> + Clone,
        <L::Service as Service<Request<MeshBody>>>::Error: Into<BoxError>,
    {
        self.add::<L>();
        calls(name, &layer).await;
        ends_with_its_body(name, &layer).await;
        keeps_the_error(name, &layer).await;
    }

    fn add<L>(&mut self) {
        let name = std::any::type_name::<L>();
        self.0.insert(name.rsplit("::").next().unwrap_or(name));
    }
}

async fn made<S: Service<Request<MeshBody>>>(service: &mut S) -> S::Future {
    std::future::poll_fn(|cx| service.poll_ready(cx)).await.ok();
    service.call(get("/"))
}

async fn calls<L>(name: &str, layer: &L)
where
    L: Layer<Probe>,
    L::Service: Service<Request<MeshBody>, Response = Response<MeshBody>> + Clone,
{
    // Readiness is passed on, both ways.
    let (inner, _) = probe(Outcome::Answer, 1);
    let mut service = layer.layer(inner);
    let mut polls = 0;
    let ready = std::future::poll_fn(|cx| {
        polls += 1;
        service.poll_ready(cx)
    });
    assert!(ready.await.is_ok(), "{name}");
    assert_eq!(polls, 2, "{name}: pending was swallowed");
    let answer = service.call(get("/")).await;
    assert!(answer.is_ok(), "{name}");

    // A clone of a ready service has to be made ready by itself, and does not disturb the first.
    std::future::poll_fn(|cx| service.poll_ready(cx)).await.ok();
    let mut clone = service.clone();
    assert!(service.call(get("/")).await.is_ok(), "{name}");
    std::future::poll_fn(|cx| clone.poll_ready(cx)).await.ok();
    assert!(clone.call(get("/")).await.is_ok(), "{name}");

    // Dropped when ready, and dropped before the first poll.
    std::future::poll_fn(|cx| clone.poll_ready(cx)).await.ok();
    drop(clone);
    let (inner, flying) = probe(Outcome::Hang, 0);
    let mut service = layer.layer(inner);
    std::future::poll_fn(|cx| service.poll_ready(cx)).await.ok();
    drop(service.call(get("/")));
    assert_eq!(flying.load(Ordering::SeqCst), 0, "{name}");

    // Dropped in the middle: what is inside goes too.
    std::future::poll_fn(|cx| service.poll_ready(cx)).await.ok();
    let mut call = Box::pin(service.call(get("/")));
    let polled = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending())).await;
    assert!(polled, "{name}");
    assert_eq!(flying.load(Ordering::SeqCst), 1, "{name}");
    drop(call);
    assert_eq!(flying.load(Ordering::SeqCst), 0, "{name}");
}

/// A call ends when its body ends: what is below sees the body at once, the end of it when the
/// caller does, and that it was dropped half way.
async fn ends_with_its_body<L>(name: &str, layer: &L)
where
    L: Layer<Probe>,
    L::Service: Service<Request<MeshBody>, Response = Response<MeshBody>>,
{
    let (inner, flying) = probe(Outcome::Stream, 0);
    let flying = || flying.load(Ordering::SeqCst);
    let mut service = layer.layer(inner);
    let Ok(answer) = made(&mut service).await.await else {
        panic!("{name}: no answer");
    };
    // Answers that are to be shared are collected first.
    let collected = usize::from(!std::any::type_name::<L>().ends_with("CoalesceLayer"));
    assert_eq!(flying(), collected, "{name}: the head alone is no end");
    let read = answer.into_body().collect().await;
    let Ok(read) = read else {
        panic!("{name}: the body broke");
    };
    assert_eq!(read.to_bytes(), "an answer", "{name}");
    assert_eq!(flying(), 0, "{name}: the body has ended");

    let Ok(answer) = made(&mut service).await.await else {
        panic!("{name}: no answer");
    };
    let mut body = answer.into_body();
    assert!(matches!(body.frame().await, Some(Ok(_))), "{name}");
    assert_eq!(flying(), collected, "{name}: half way");
    drop(body);
    assert_eq!(flying(), 0, "{name}: the body was dropped");
}

async fn keeps_the_error<L>(name: &str, layer: &L)
where
    L: Layer<Probe>,
    L::Service: Service<Request<MeshBody>, Response = Response<MeshBody>>,
    <L::Service as Service<Request<MeshBody>>>::Error: Into<BoxError>,
{
    // An error from below arrives with its code and its words.
    let (inner, _) = probe(Outcome::Fail, 0);
    let mut service = layer.layer(inner);
    std::future::poll_fn(|cx| service.poll_ready(cx)).await.ok();
    let error: BoxError = match service.call(get("/")).await {
        Ok(_) => panic!("{name}: the error was swallowed"),
        Err(error) => error.into(),
    };
    let error = error.downcast::<MeshError>().expect("a MeshError");
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::Denied, "not you"),
        "{name}"
    );
}

#[tokio::test(start_paused = true)]
async fn every_layer_keeps_the_contract() {
    let mut seen = Seen::default();
    let set = EndpointSet::new([EndpointInfo::new(([10, 0, 0, 1], 80).into())]);
    let outliers = Arc::new(Outliers::new(EjectionPolicy::default(), set.clone()));
    seen.contract("trace", trace::TraceLayer::new()).await;
    let recorder = telemetry::Recorder::new();
    seen.contract(
        "metrics",
        metrics::MetricsLayer::new(&recorder, "shop/reviews", "all"),
    )
    .await;
    seen.contract("rescue", rescue::RescueLayer::new()).await;
    seen.contract(
        "deadline",
        deadline::DeadlineLayer::new(Duration::from_secs(1)),
    )
    .await;
    seen.contract("headers", headers::HeadersLayer::new()).await;
    seen.contract(
        "timeout",
        timeout::TimeoutLayer::new(Duration::from_secs(1)),
    )
    .await;
    seen.contract("ceiling", ceiling::CeilingLayer::new(2))
        .await;
    seen.contract("retry", retry::RetryLayer::new(RetryPolicy::default()))
        .await;
    seen.contract("hedge", hedge::HedgeLayer::new(&HedgePolicy::default()))
        .await;
    let at_once = HedgePolicy::default().with_fixed_delay(Some(Duration::ZERO));
    seen.contract("hedge at once", hedge::HedgeLayer::new(&at_once))
        .await;
    seen.contract(
        "breaker",
        breaker::BreakerLayer::new(&BreakerPolicy::default()),
    )
    .await;
    seen.contract(
        "throttle",
        throttle::ThrottleLayer::new(&ThrottlePolicy::default()),
    )
    .await;
    seen.contract("attempt", attempt::AttemptLayer::new()).await;
    seen.contract(
        "endpoint",
        endpoint::EndpointLayer::new(set, 0, BalancePolicy::default()),
    )
    .await;
    seen.contract("ejection", EjectionLayer::new(outliers, 0))
        .await;
    let limits = [RateLimit::new("all", 100, Duration::from_secs(1))];
    seen.contract("ratelimit", ratelimit::RateLimitLayer::fixed(limits))
        .await;
    let queue = QueuePolicy::default();
    seen.contract(
        "overload",
        overload::OverloadLayer::new(&ConcurrencyPolicy::default(), &queue),
    )
    .await;
    seen.contract("bulkhead", bulkhead::BulkheadLayer::new(1))
        .await;
    let keyed = bulkhead::BulkheadLayer::new(1).per(|head| Some(head.uri.path().into()));
    seen.contract("bulkhead by key", keyed).await;
    let fallback = fallback::FallbackLayer::new(|_| Response::new(MeshBody::empty()));
    seen.contract("fallback", fallback.when(|_| false)).await;
    seen.contract("coalesce", coalesce::CoalesceLayer::new())
        .await;
    seen.contract(
        "criticality",
        criticality::CriticalityLayer::fixed(CriticalityPolicy::default()),
    )
    .await;
    seen.contract("route", route::RouteLayer::new(everything()))
        .await;
    let inside = access::AccessLayer::fixed(policy::model::AccessModel::default());
    seen.contract("access", inside).await;
    seen.contract("access log", access_log::AccessLogLayer::new())
        .await;
    seen.contract("catch panic", catch_panic::CatchPanicLayer::new())
        .await;
    seen.contract("health", health::HealthLayer::new(|| None))
        .await;
    let reports = load_report::LoadReports::new();
    seen.contract("load report", load_report::LoadReportLayer::new(reports))
        .await;
    let tracing = trace::inbound::InboundTraceLayer::new(telemetry::Tracing::disabled());
    seen.contract("trace, inbound", tracing).await;
    let metrics = metrics::inbound::InboundMetricsLayer::new(&recorder);
    seen.contract("metrics, inbound", metrics).await;
    let deadline = deadline::inbound::InboundDeadlineLayer::new();
    seen.contract("deadline, inbound", deadline).await;
    let second = Some(Duration::from_secs(1));
    let timeout = timeout::inbound::InboundTimeoutLayer::new(second);
    seen.contract("timeout, inbound", timeout).await;

    // The innermost of a server, and what it tells a caller of the mesh is only metadata.
    seen.contract("scope", server::ScopeLayer::new()).await;

    // The outermost of a server has no error to keep: it answers.
    let rescue = rescue::inbound::InboundRescueLayer::new();
    seen.add::<rescue::inbound::InboundRescueLayer>();
    calls("rescue, inbound", &rescue).await;
    ends_with_its_body("rescue, inbound", &rescue).await;
    let answer = made(&mut rescue.layer(probe(Outcome::Fail, 0).0))
        .await
        .await;
    assert_eq!(answer.map(|answer| answer.status().as_u16()), Ok(403));

    // The whole of a server, which only a mesh makes, of the layers above.
    seen.add::<server::ServerLayer>();
    let public = public_layers();
    println!(
        "{} public layers, {} of them seen",
        public.len(),
        seen.0.len()
    );
    let seen: BTreeSet<String> = seen.0.into_iter().map(str::to_owned).collect();
    assert_eq!(
        public, seen,
        "public layers, and those that keep the contract"
    );
}

/// A route that everything takes.
fn everything() -> Arc<RouteTable> {
    let source = Source::new("route.yaml", "service: shop/items\nroute:\n- timeout: 5s\n");
    let checked = policy::check(&[source], &Options::partial());
    let snapshot = checked
        .snapshot
        .unwrap_or_else(|| panic!("{}", checked.rendered));
    let service = ServiceName::new("shop", "items").unwrap();
    let service = snapshot.outbound().service(&service).unwrap();
    service.routes(None).clone()
}

/// The public types in the sources for which [`Layer`] is written.
fn public_layers() -> BTreeSet<String> {
    let (mut layers, mut public) = (BTreeSet::new(), BTreeSet::new());
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let name = |after: &str| {
                let end = after.find(|c: char| !c.is_alphanumeric());
                after.get(..end.unwrap_or(after.len())).unwrap().to_owned()
            };
            for line in text.lines() {
                if let Some((head, after)) = line.split_once(" Layer<") {
                    let of = after.split_once(" for ").map(|(_, of)| name(of));
                    layers.extend(of.filter(|_| head.starts_with("impl")));
                }
                public.extend(line.strip_prefix("pub struct ").map(name));
            }
        }
    }
    layers.intersection(&public).cloned().collect()
}

/// The layers that give out places: one is held until the body has ended, or is dropped half way.
#[tokio::test(start_paused = true)]
async fn a_place_is_held_until_the_body_has_ended() {
    let one = ConcurrencyPolicy::default()
        .with_algorithm(ConcurrencyAlgorithm::Fixed)
        .with_initial(1);
    let no_queue = QueuePolicy::default().with_size(0);
    one_place("ceiling", ceiling::CeilingLayer::new(1)).await;
    let bulkhead = bulkhead::BulkheadLayer::new(1).with_queue(no_queue);
    one_place("bulkhead", bulkhead.clone()).await;
    let keyed = bulkhead.per(|head| Some(head.uri.path().into()));
    one_place("bulkhead by key", keyed).await;
    one_place("limiter", overload::OverloadLayer::new(&one, &no_queue)).await;

    // Calls in flight at an endpoint, alone and below what makes several attempts.
    let set = EndpointSet::new([EndpointInfo::new(([10, 0, 0, 1], 80).into())]);
    let endpoint = endpoint::EndpointLayer::new(set.clone(), 0, BalancePolicy::default());
    counted("endpoint", endpoint.clone(), &set).await;
    let retry = retry::RetryLayer::new(RetryPolicy::default());
    counted("retry", (retry, endpoint.clone()), &set).await;
    let at_once = HedgePolicy::default().with_fixed_delay(Some(Duration::ZERO));
    let hedge = hedge::HedgeLayer::new(&at_once);
    counted("hedge", (hedge, endpoint), &set).await;
}

async fn one_place<L>(name: &str, layer: L)
where
    L: Layer<Probe>,
    L::Service: Service<Request<MeshBody>, Response = Response<MeshBody>>,
{
    let mut service = layer.layer(probe(Outcome::Stream, 0).0);
    for half_way in [false, true] {
        let Ok(answer) = made(&mut service).await.await else {
            panic!("{name}: the place is not free");
        };
        assert!(made(&mut service).await.await.is_err(), "{name}: a second");
        let mut body = answer.into_body();
        assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
        assert!(made(&mut service).await.await.is_err(), "{name}: half way");
        if !half_way {
            assert!(body.collect().await.is_ok(), "{name}");
        }
    }
    assert!(made(&mut service).await.await.is_ok(), "{name}: dropped");
}

async fn counted<L>(name: &str, layer: L, set: &EndpointSet)
where
    L: Layer<Probe>,
    L::Service: Service<Request<MeshBody>, Response = Response<MeshBody>>,
{
    let in_flight = || set.endpoints().iter().map(|e| e.in_flight()).sum::<u32>();
    let mut service = layer.layer(probe(Outcome::Stream, 0).0);
    for half_way in [false, true] {
        let Ok(answer) = made(&mut service).await.await else {
            panic!("{name}: no answer");
        };
        assert_eq!(in_flight(), 1, "{name}: the head alone is no end");
        let mut body = answer.into_body();
        assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
        assert_eq!(in_flight(), 1, "{name}: half way");
        if !half_way {
            assert!(body.collect().await.is_ok(), "{name}");
        }
        assert_eq!(in_flight(), u32::from(half_way), "{name}: at its end");
    }
    assert_eq!(in_flight(), 0, "{name}: dropped");
}

#[tokio::test(start_paused = true)]
async fn layers_compose_in_a_service_builder() {
    let (inner, _) = probe(Outcome::Hang, 0);
    let mut stack = tower::ServiceBuilder::new()
        .layer(trace::TraceLayer::new())
        .layer(rescue::RescueLayer::new())
        .layer(deadline::DeadlineLayer::new(Duration::from_secs(3)))
        .layer(timeout::TimeoutLayer::call())
        .layer(ceiling::CeilingLayer::new(1))
        .service(inner);
    let began = tokio::time::Instant::now();
    std::future::poll_fn(|cx| stack.poll_ready(cx))
        .await
        .unwrap();
    let error = stack.call(get("/")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert_eq!(began.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_route_layer_alone_says_when_nothing_matches() {
    let (inner, _) = probe(Outcome::Answer, 0);
    let mut none = route::RouteLayer::new(Arc::new(RouteTable::new([]))).layer(inner.clone());
    std::future::poll_fn(|cx| none.poll_ready(cx))
        .await
        .unwrap();
    assert_eq!(
        none.call(get("/")).await.unwrap_err().kind(),
        ErrorKind::NoRoute
    );
}

#[tokio::test(start_paused = true)]
async fn a_balancer_alone_leaves_out_an_endpoint_that_fails_fast() {
    #[derive(Clone)]
    struct Fixed(u16, Arc<AtomicUsize>);
    impl Service<Request<MeshBody>> for Fixed {
        type Response = Response<MeshBody>;
        type Error = MeshError;
        type Future = std::future::Ready<Result<Response<MeshBody>, MeshError>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: Request<MeshBody>) -> Self::Future {
            self.1.fetch_add(1, Ordering::SeqCst);
            let mut response = Response::new(MeshBody::empty());
            *response.status_mut() = self.0.try_into().unwrap();
            std::future::ready(Ok(response))
        }
    }
    let bad = Arc::new(AtomicUsize::new(0));
    let endpoints = (1..=10_u8).map(|n| {
        let (status, count) = if n == 1 {
            (503, bad.clone())
        } else {
            (200, Arc::default())
        };
        (
            EndpointInfo::new(([10, 0, 0, n], 80).into()),
            Fixed(status, count),
        )
    });
    let mut balance = mesh_tower::balance::Balance::new(&BalancePolicy::default(), endpoints);
    for _ in 0..1_000 {
        let _ = balance.call(get("/")).await.unwrap();
    }
    let bad = bad.load(Ordering::SeqCst);
    assert!(
        bad < 20,
        "{bad} of 1000 calls went to the endpoint that fails fast"
    );
}
