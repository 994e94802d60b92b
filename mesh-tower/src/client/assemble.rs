//! Where the order table becomes a stack. Each row's reason is in
//! [`CLIENT_ORDER`](crate::stack::CLIENT_ORDER).

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use mesh_core::error::{ErrorKind, MeshError};
use tower_layer::Layer;
use tower_service::Service;

use crate::attempt::AttemptLayer;
use crate::balance::RoutedBalance;
use crate::body::MeshBody;
use crate::breaker::BreakerLayer;
use crate::ceiling::{CeilingLayer, CeilingService};
use crate::context::CallContext;
use crate::deadline::{DeadlineLayer, DeadlineService};
use crate::mesh::UserLayers;
use crate::metrics::{MetricsLayer, MetricsService};
use crate::rescue::{RescueLayer, RescueService};
use crate::retry::RoutedRetry;
use crate::route::{RouteLayer, RouteService, Source};
use crate::stack::{BoxFuture, Describe, DynService, Seam};
use crate::telemetry::Tracing;
use crate::throttle::{ThrottleLayer, ThrottleService};
use crate::timeout::{TimeoutLayer, TimeoutService};
use crate::trace::{TraceLayer, TraceService};

/// Slots 1 to 4, above seam A.
pub(super) type ClientStack = TraceService<
    MetricsService<
        RescueService<
            DeadlineService<
                RouteService<TimeoutService<ThrottleService<CeilingService<ToBackend>>>>,
            >,
        >,
    >,
>;

pub(super) fn client_stack(
    source: Source,
    deadline: Duration,
    tracing: Tracing,
    probe: Seam,
) -> ClientStack {
    // From the inside out: the reverse of the table.
    let backend = ToBackend { probe };
    let ceiling = CeilingLayer::routed().layer(backend);
    let throttle = ThrottleLayer::routed().layer(ceiling);
    let timeout = TimeoutLayer::call().layer(throttle);
    let route = RouteLayer::of_mesh(source).layer(timeout);
    let deadline = DeadlineLayer::new(deadline).layer(route);
    let rescue = RescueLayer::new().layer(deadline);
    let metrics = MetricsLayer::routed().layer(rescue);
    TraceLayer::with_tracing(tracing).layer(metrics)
}

/// Slots 5 to 10, from seam A to seam C: built once per backend.
pub(crate) fn logical_stack(layers: &UserLayers, wait: Duration, tracing: &Tracing) -> Seam {
    let balance = Seam::from_dyn(Arc::new(RoutedBalance::new(wait)));
    let attempt_seam = UserLayers::apply(&layers.attempt, balance);
    let attempt_seam = Named {
        name: "seam B (attempt)",
        inner: attempt_seam,
    };
    let breaker = BreakerLayer::routed().layer(attempt_seam);
    let attempt = AttemptLayer::with_tracing(tracing.clone()).layer(breaker);
    let retry = Seam::from_dyn(Arc::new(RoutedRetry::new(attempt)));
    let logical = UserLayers::apply(&layers.logical, retry);
    Seam::from_dyn(Arc::new(Named {
        name: "seam A (logical)",
        inner: logical,
    }))
}

/// Hands a call over to the backend that its route chose.
#[derive(Clone, Debug)]
pub(super) struct ToBackend {
    /// What any backend's stack looks like, for `describe`.
    probe: Seam,
}

/// A seam that says its name when the stack describes itself.
#[derive(Clone)]
struct Named {
    name: &'static str,
    inner: Seam,
}

// === impl ToBackend ===

impl Describe for ToBackend {
    fn describe(&self, into: &mut Vec<&'static str>) {
        self.probe.describe(into);
    }
}

impl Service<Request<MeshBody>> for ToBackend {
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = BoxFuture<Result<Response<MeshBody>, MeshError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        Poll::Ready(Ok(()))
    }

    #[inline(always)]
    fn call(&mut self, request: Request<MeshBody>) -> Self::Future {
        let call = CallContext::get(&request).cloned();
        match call.as_ref().and_then(CallContext::chosen) {
            Some(chosen) => chosen.backend.state().logical().call_ref(request),
            None => Box::pin(std::future::ready(Err(MeshError::new(
                ErrorKind::Internal,
                "the call reached a backend without a route",
            )))),
        }
    }
}

// === impl Named ===

impl Describe for Named {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push(self.name);
        self.inner.describe(into);
    }
}

impl DynService for Named {
    fn call(&self, request: Request<MeshBody>) -> BoxFuture<Result<Response<MeshBody>, MeshError>> {
        self.inner.call_ref(request)
    }

    fn describe(&self, into: &mut Vec<&'static str>) {
        Describe::describe(self, into);
    }
}

impl Service<Request<MeshBody>> for Named {
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = BoxFuture<Result<Response<MeshBody>, MeshError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        Poll::Ready(Ok(()))
    }

    #[inline(always)]
    fn call(&mut self, request: Request<MeshBody>) -> Self::Future {
        self.inner.call(request)
    }
}
