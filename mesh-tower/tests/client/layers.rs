//! Every public layer through one contract: readiness, clone, drop before call, drop mid-flight,
//! error kept.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use mesh_core::balance::{EndpointInfo, EndpointSet};
use mesh_core::error::{ErrorKind, MeshError};
use mesh_core::policy::{
    BalancePolicy, BreakerPolicy, ConcurrencyPolicy, CriticalityPolicy, EjectionPolicy,
    HedgePolicy, QueuePolicy, RateLimit, RetryPolicy, ThrottlePolicy,
};
use mesh_core::route::RouteTable;
use mesh_tower::ejection::{EjectionLayer, Outliers};
use mesh_tower::{
    BoxError, MeshBody, attempt, breaker, bulkhead, ceiling, coalesce, criticality, deadline,
    endpoint, fallback, headers, hedge, metrics, overload, ratelimit, rescue, retry, route,
    telemetry, throttle, timeout, trace,
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
            let _flying = flying;
            match outcome {
                Outcome::Answer => Ok(Response::new(MeshBody::full("answer"))),
                Outcome::Fail => Err(MeshError::new(ErrorKind::Denied, "not you")),
                Outcome::Hang => std::future::pending().await,
            }
        })
    }
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

async fn contract<L>(name: &str, layer: L)
where
    L: Layer<Probe>,
    L::Service: Service<Request<MeshBody>, Response = Response<MeshBody>> + Clone,
    <L::Service as Service<Request<MeshBody>>>::Error: Into<BoxError>,
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
    let set = EndpointSet::new([EndpointInfo::new(([10, 0, 0, 1], 80).into())]);
    let outliers = Arc::new(Outliers::new(EjectionPolicy::default(), set.clone()));
    contract("trace", trace::TraceLayer::new()).await;
    let recorder = telemetry::Recorder::new();
    contract(
        "metrics",
        metrics::MetricsLayer::new(&recorder, "shop/reviews", "all"),
    )
    .await;
    contract("rescue", rescue::RescueLayer::new()).await;
    contract(
        "deadline",
        deadline::DeadlineLayer::new(Duration::from_secs(1)),
    )
    .await;
    contract("headers", headers::HeadersLayer::new()).await;
    contract(
        "timeout",
        timeout::TimeoutLayer::new(Duration::from_secs(1)),
    )
    .await;
    contract("ceiling", ceiling::CeilingLayer::new(2)).await;
    contract("retry", retry::RetryLayer::new(RetryPolicy::default())).await;
    contract("hedge", hedge::HedgeLayer::new(&HedgePolicy::default())).await;
    let at_once = HedgePolicy::default().with_fixed_delay(Some(Duration::ZERO));
    contract("hedge at once", hedge::HedgeLayer::new(&at_once)).await;
    contract(
        "breaker",
        breaker::BreakerLayer::new(&BreakerPolicy::default()),
    )
    .await;
    contract(
        "throttle",
        throttle::ThrottleLayer::new(&ThrottlePolicy::default()),
    )
    .await;
    contract("attempt", attempt::AttemptLayer::new()).await;
    contract(
        "endpoint",
        endpoint::EndpointLayer::new(set, 0, BalancePolicy::default()),
    )
    .await;
    contract("ejection", EjectionLayer::new(outliers, 0)).await;
    let limits = [RateLimit::new("all", 100, Duration::from_secs(1))];
    contract("ratelimit", ratelimit::RateLimitLayer::fixed(limits)).await;
    let queue = QueuePolicy::default();
    contract(
        "overload",
        overload::OverloadLayer::new(&ConcurrencyPolicy::default(), &queue),
    )
    .await;
    contract("bulkhead", bulkhead::BulkheadLayer::new(1)).await;
    let keyed = bulkhead::BulkheadLayer::new(1).per(|head| Some(head.uri.path().into()));
    contract("bulkhead by key", keyed).await;
    let fallback = fallback::FallbackLayer::new(|_| Response::new(MeshBody::empty()));
    contract("fallback", fallback.when(|_| false)).await;
    contract("coalesce", coalesce::CoalesceLayer::new()).await;
    contract(
        "criticality",
        criticality::CriticalityLayer::fixed(CriticalityPolicy::default()),
    )
    .await;
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
