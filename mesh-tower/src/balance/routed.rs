use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use mesh_core::balance::{Ask, EndpointSet};
use mesh_core::ejection::Detector;
use mesh_core::error::{ErrorKind, Flags, MeshError};
use mesh_core::metadata;
use mesh_core::policy::{BalancePolicy, EjectionPolicy};
use mesh_core::report::EndpointHealth;
use mesh_core::telemetry::names;
use tower_layer::Layer;

use super::affinity::{Affinity, giving};
use crate::body::MeshBody;
use crate::ceiling::crowded;
use crate::context::CallContext;
use crate::ejection::{EjectionService, Outliers};
use crate::endpoint::{EndpointLayer, EndpointService};
use crate::live_view::BackendView;
use crate::stack::{BoxFuture, Describe, DynService, Seam};
use crate::telemetry::Recorder;
use crate::timeout::{TimeoutLayer, TimeoutService};

/// Seam B's own service: balances over the endpoints of the backend that the call has pinned.
pub(crate) struct RoutedBalance {
    /// Longest wait for a first endpoint.
    wait: Duration,
}

/// The layers of one attempt at one endpoint, above the seam to its connections.
type EndpointStack = EndpointService<EjectionService<TimeoutService<Seam>>>;

// === impl RoutedBalance ===

impl RoutedBalance {
    pub(crate) fn new(wait: Duration) -> Self {
        Self { wait }
    }
}

/// Slots 8 to 10 of the order table: built per attempt, since they name an endpoint of the set that
/// the pick was made in. That is a handful of reference counts.
fn endpoint_stack(
    guard: EndpointLayer,
    ix: usize,
    outliers: &Arc<Outliers>,
    seam: Seam,
) -> EndpointStack {
    let timed = TimeoutLayer::attempt().layer(seam);
    let recorded = EjectionService::from_parts(outliers.clone(), ix, timed);
    EndpointService::from_parts(guard, recorded)
}

impl DynService for RoutedBalance {
    fn call(
        &self,
        mut request: Request<MeshBody>,
    ) -> BoxFuture<Result<Response<MeshBody>, MeshError>> {
        let call = CallContext::of(&mut request);
        let Some(chosen) = call.chosen() else {
            return failed(MeshError::new(
                ErrorKind::Internal,
                "the call was not routed",
            ));
        };
        let pinned = &chosen.backend;
        // A later attempt may know more than the view that the call began with.
        let newest;
        let mut backend = pinned;
        if call.attempt() > 1 {
            newest = pinned.newest();
            backend = &newest;
        }
        if backend.set().is_empty() {
            let (wait, pinned) = (self.wait, pinned.clone());
            return Box::pin(async move {
                let waited = wait_for_endpoint(&call, &pinned, wait).await?;
                send(&call, &waited, request).await
            });
        }
        send(&call, backend, request)
    }

    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("balance");
        let outliers = Arc::new(Outliers::with(
            EjectionPolicy::default(),
            EndpointSet::empty(),
            Arc::new(Detector::new()),
            Arc::from(""),
            Recorder::disabled(),
        ));
        let seam = Seam::from_dyn(Arc::new(Connections));
        let guard = EndpointLayer::new(EndpointSet::empty(), 0, BalancePolicy::default());
        endpoint_stack(guard, 0, &outliers, seam).describe(into);
    }
}

/// Stands for any endpoint's seam C when a stack describes itself.
struct Connections;

impl DynService for Connections {
    fn call(&self, _: Request<MeshBody>) -> BoxFuture<Result<Response<MeshBody>, MeshError>> {
        Box::pin(std::future::ready(Err(MeshError::new(
            ErrorKind::Internal,
            "not a connection",
        ))))
    }

    fn describe(&self, into: &mut Vec<&'static str>) {
        into.extend(["seam C (endpoint)", "pool"]);
    }
}

fn failed(error: MeshError) -> BoxFuture<Result<Response<MeshBody>, MeshError>> {
    Box::pin(std::future::ready(Err(error)))
}

/// Sends a request through the layers around the endpoint that is picked for this attempt.
///
/// Without a future of its own: the request would be copied into it and out again.
fn send(
    call: &CallContext,
    backend: &Arc<BackendView>,
    mut request: Request<MeshBody>,
) -> BoxFuture<Result<Response<MeshBody>, MeshError>> {
    let balancer = backend.balancer();
    let mut affinity = Affinity::default();
    if balancer.goes_by_hash() {
        affinity = Affinity::of(&request, backend);
    } else if balancer.goes_by_reports() {
        // The endpoint is asked how loaded it is.
        let form = if call.is_grpc() { "BIN" } else { "TEXT" };
        let form = HeaderValue::from_static(form);
        request.headers_mut().insert(metadata::LOAD_FORMAT, form);
    }
    let Some(ix) = pick(call, backend, affinity.hash) else {
        return failed(none_available(call, backend));
    };
    let Some(endpoint) = backend.endpoint(ix) else {
        return failed(MeshError::new(
            ErrorKind::Internal,
            "a pick outside of its set",
        ));
    };
    call.set_pick(endpoint.id());
    let guard = EndpointLayer::of_mesh(backend.clone(), ix);
    let stack = endpoint_stack(guard, ix, backend.outliers(), endpoint.seam().clone());
    match affinity.cookie {
        None => Box::pin(stack.once(request)),
        Some(cookie) => giving(cookie, stack.once(request)),
    }
}

fn pick(call: &CallContext, backend: &BackendView, hash: Option<u64>) -> Option<usize> {
    let now = call.now();
    let mut rng = fastrand::Rng::new();
    let (set, balancer) = (backend.set(), backend.balancer());
    let ask = Ask::new(now).with_hash(hash);
    let mut pick = None;
    if call.attempt() > 1 {
        let mut tried = [usize::MAX; 4];
        for (at, id) in tried.iter_mut().zip(call.earlier_picks()) {
            if id != 0 {
                *at = backend.position(id).unwrap_or(usize::MAX);
            }
        }
        pick = balancer.choose_for(set, &ask.excluding(&tried), &mut rng);
    }
    if let (1, Some(session)) = (
        call.attempt(),
        call.chosen().and_then(|c| c.session.as_ref()),
    ) {
        // The session's own endpoint, as long as it is there and in rotation.
        let own = set
            .iter()
            .position(|state| session.is_endpoint(state.addr()));
        let well = |ix: &usize| {
            set.get(*ix)
                .is_some_and(|state| state.health() == EndpointHealth::Available)
        };
        if let Some(ix) = own.filter(well) {
            return Some(ix);
        }
    }
    // The same endpoint again is better than no attempt.
    let pick = pick.or_else(|| balancer.choose_for(set, &ask, &mut rng))?;
    if pick.panic {
        backend.count(names::PANIC, "");
    }
    if pick.probe {
        call.set_probe();
    }
    Some(pick.index)
}

async fn wait_for_endpoint(
    call: &CallContext,
    backend: &Arc<BackendView>,
    wait: Duration,
) -> Result<Arc<BackendView>, MeshError> {
    let pending = &backend.state().ceilings().pending;
    let Some(_waiting) = pending.try_acquire_for(call.criticality()) else {
        backend.count(names::CEILING_REACHED, "pending");
        return Err(crowded(pending.limit()));
    };
    let began = call.now();
    let wait = call.remaining(began).map_or(wait, |left| left.min(wait));
    let mut latest = backend.state().latest().subscribe();
    let found = {
        let has_endpoints =
            latest.wait_for(|view| view.as_ref().is_some_and(|view| !view.set().is_empty()));
        match tokio::time::timeout(wait, has_endpoints).await {
            Ok(Ok(view)) => view.clone(),
            // Nobody will publish any more, or time is up.
            _ => None,
        }
    };
    let now = call.tick();
    found.ok_or_else(|| {
        let newest = backend.newest();
        let waited = now.saturating_duration_since(began);
        let message = format!("no endpoint within {waited:.1?}: {}", newest.why_empty());
        error(call, message)
    })
}

fn none_available(call: &CallContext, backend: &BackendView) -> MeshError {
    let total = backend.set().len();
    let message = format!("none of its {total} endpoints is available, and panic is off");
    let kind = ErrorKind::Ejected;
    let flags = Flags {
        never_sent: true,
        ..Flags::default()
    };
    let error = MeshError::new(kind, message).with_flags(flags);
    match call.chosen() {
        Some(chosen) => error.with_service(chosen.service.name()),
        None => error,
    }
}

fn error(call: &CallContext, message: String) -> MeshError {
    // It was not sent, but the wait is over: another one would double it.
    let flags = Flags {
        never_sent: true,
        non_retryable: true,
        ..Flags::default()
    };
    let error = MeshError::new(ErrorKind::NoEndpoints, message).with_flags(flags);
    match call.chosen() {
        Some(chosen) => error.with_service(chosen.service.name()),
        None => error,
    }
}
