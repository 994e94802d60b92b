//! From a service to a connection: route, breaker, pick, connect, and the next endpoint if that fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Uri};
use mesh_core::balance::{Ask, Outcome};
use mesh_core::breaker::Permit;
use mesh_core::ejection::Observed;
use mesh_core::error::{AttemptRecord, ErrorKind, MeshError};
use mesh_core::policy::model::{Route, RouteMatch};
use mesh_core::route::key;
use mesh_core::telemetry::names;

use super::connection::TcpConnection;
use super::dial::dial;
use super::record::{self, Record};
use crate::ceiling::crowded;
use crate::live_view::{BackendView, ServiceView};
use crate::metrics::{Edge, Ended};
use crate::route::MeshSource;
use crate::runtime;

/// Endpoints that are tried beside the first where no route says otherwise.
const RETRIES: u32 = 2;

/// Opens a connection to an endpoint of the client's service.
pub(super) async fn open(
    source: &mut MeshSource,
    through: bool,
) -> Result<TcpConnection, MeshError> {
    let began = runtime::now();
    let (service, port) = match source.service().await {
        Ok(found) => found,
        Err(error) => {
            record::count(
                &source.mesh.recorder,
                "outbound",
                "(unknown)",
                error.kind().label(),
            );
            return Err(error);
        }
    };
    let mut attempts = Vec::new();
    let opened = attempt_all(source, through, &service, port, &mut attempts).await;
    let took = runtime::now().saturating_duration_since(began);
    let edge = match route(&service, port) {
        Some(route) => service
            .route(route)
            .map_or_else(|| service.unrouted(), |(_, state)| &state.edge),
        None => service.unrouted(),
    };
    match opened {
        Ok(opened) => {
            edge.connection(None, took, !attempts.is_empty());
            Ok(opened)
        }
        Err(error) => {
            edge.connection(Some(Ended::error(&error)), took, false);
            let name = service.name().to_string();
            record::count(
                &source.mesh.recorder,
                "outbound",
                &name,
                error.kind().label(),
            );
            Err(error.with_service(service.name()).with_attempts(attempts))
        }
    }
}

async fn attempt_all(
    source: &MeshSource,
    through: bool,
    service: &Arc<ServiceView>,
    port: Option<u16>,
    attempts: &mut Vec<AttemptRecord>,
) -> Result<TcpConnection, MeshError> {
    let route = route(service, port).ok_or_else(|| {
        let what = "each of its routes limits requests, and bytes have none of what they look at";
        MeshError::new(ErrorKind::NoRoute, what)
    })?;
    let target = route.split().pick_target(&mut fastrand::Rng::new());
    let pinned = target
        .and_then(|target| service.backend(target.backend()))
        .ok_or_else(|| MeshError::new(ErrorKind::NoRoute, "no target has a weight"))?;
    let budget = &service.state().budget;
    budget.deposit(runtime::now());
    let most = 1 + route.retry().map_or(RETRIES, |retry| retry.attempts());
    let mut tried = Vec::new();
    let mut backend = pinned.clone();
    loop {
        if backend.set().is_empty() {
            backend = wait_for_endpoint(&backend, source.settings.wait).await?;
        }
        let permit = admit(&backend)?;
        let number = u32::try_from(attempts.len()).unwrap_or(u32::MAX) + 1;
        let began = runtime::now();
        let at = pick(&backend, &tried)?;
        let error = match connect(source, through, &backend, at, permit).await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        let now = runtime::now();
        attempts.push(AttemptRecord {
            number,
            endpoint: backend.set().get(at).map(|state| state.addr()),
            outcome: error.message().to_owned(),
            after: now.saturating_duration_since(began),
        });
        if !error.flags().never_sent || error.flags().non_retryable || number >= most {
            return Err(error);
        }
        if !budget.withdraw(now) {
            edge(service, route).budget_exhausted();
            return Err(error);
        }
        let percent = backend.policy().budget().percent();
        let Some(_place) = backend.state().ceilings().try_retry(percent) else {
            budget.refund(now);
            backend.count(names::CEILING_REACHED, "retries");
            return Err(error);
        };
        edge(service, route).retry(error.kind().label());
        if let Some(endpoint) = backend.endpoint(at) {
            tried.push(endpoint.id());
        }
        // By now more may be known.
        backend = backend.newest();
    }
}

fn edge<'a>(service: &'a ServiceView, route: &Arc<Route>) -> &'a Arc<Edge> {
    service
        .route(route)
        .map_or_else(|| service.unrouted(), |(_, state)| &state.edge)
}

/// The first route that asks for nothing that bytes do not have.
fn route(service: &ServiceView, port: Option<u16>) -> Option<&Arc<Route>> {
    let any = RouteMatch::any();
    service
        .model()
        .routes(port)
        .steps()
        .find(|step| {
            step.host.is_none()
                && *step.condition == any
                && step.route.direct().is_none()
                && step.route.redirect().is_none()
        })
        .map(|step| step.route)
}

fn admit(backend: &BackendView) -> Result<Option<Permit>, MeshError> {
    let Some(breaker) = backend.breaker() else {
        return Ok(None);
    };
    breaker.admit(runtime::now()).map(Some).map_err(|open| {
        backend.count(names::BREAKER_REFUSED, "");
        crate::breaker::refused(open)
    })
}

async fn wait_for_endpoint(
    backend: &Arc<BackendView>,
    wait: Duration,
) -> Result<Arc<BackendView>, MeshError> {
    let pending = &backend.state().ceilings().pending;
    let Some(_waiting) = pending.try_acquire() else {
        backend.count(names::CEILING_REACHED, "pending");
        return Err(crowded(pending.limit()));
    };
    let mut latest = backend.state().latest().subscribe();
    let some = latest.wait_for(|view| view.as_ref().is_some_and(|view| !view.set().is_empty()));
    let found = match tokio::time::timeout(wait, some).await {
        Ok(Ok(view)) => view.clone(),
        _ => None,
    };
    found.ok_or_else(|| {
        let why = backend.newest().why_empty();
        MeshError::new(
            ErrorKind::NoEndpoints,
            format!("no endpoint within {wait:.1?}: {why}"),
        )
    })
}

fn pick(backend: &BackendView, tried: &[u64]) -> Result<usize, MeshError> {
    let mut rng = fastrand::Rng::new();
    let (set, balancer) = (backend.set(), backend.balancer());
    // Bytes have no part that could be hashed but where they come from: this process.
    let hash = balancer.goes_by_hash().then(|| {
        let seed = backend.place().seed.to_be_bytes();
        let on = backend.policy().hash_on();
        key::hash_with(on, &Uri::default(), &HeaderMap::new(), Some(&seed), "")
    });
    let ask = Ask::new(runtime::now()).with_hash(hash.flatten());
    let tried: Vec<usize> = tried
        .iter()
        .filter_map(|id| backend.position(*id))
        .collect();
    let other = (!tried.is_empty())
        .then(|| balancer.choose_for(set, &ask.excluding(&tried), &mut rng))
        .flatten();
    // The same endpoint again is better than no attempt.
    let pick = match other {
        Some(pick) => pick,
        None => balancer
            .choose_for(
                set,
                &Ask::new(runtime::now()).with_hash(hash.flatten()),
                &mut rng,
            )
            .ok_or_else(|| {
                let total = set.len();
                let what = format!("none of its {total} endpoints is available, and panic is off");
                MeshError::new(ErrorKind::Ejected, what)
            })?,
    };
    if pick.panic {
        backend.count(names::PANIC, "");
    }
    Ok(pick.index)
}

/// Connects to one endpoint and records how that went.
async fn connect(
    source: &MeshSource,
    through: bool,
    backend: &Arc<BackendView>,
    at: usize,
    mut permit: Option<Permit>,
) -> Result<TcpConnection, MeshError> {
    let inside = || MeshError::new(ErrorKind::Internal, "a pick outside of its set");
    let endpoint = backend.endpoint(at).ok_or_else(inside)?;
    let state = backend.set().get(at).ok_or_else(inside)?;
    let in_flight = state.begin();
    let began = runtime::now();
    let made = dial(endpoint.pool(), through).await;
    let now = runtime::now();
    let took = now.saturating_duration_since(began);
    let balance = backend.policy().balance();
    match made {
        Ok((io, bytes_info, kept)) => {
            state.record_with(balance, took, Outcome::Success, now);
            if !state.is_reachable() {
                state.answered();
            }
            backend.outliers().record(at, Observed::Success, now);
            recorded(backend, permit.as_mut(), false, took, now);
            let mut record = Record::open(
                &source.mesh.recorder,
                "outbound",
                backend.service().clone(),
                state.addr(),
            );
            record.peer = bytes_info;
            Ok(TcpConnection::new(
                io,
                record,
                backend.clone(),
                source.mesh.credentials.clone(),
                in_flight,
                kept,
            ))
        }
        Err(error) => {
            let ended = Ended::error(&error);
            if ended.class.is_endpoint_failure() {
                state.record_with(balance, took, Outcome::Failure { retry_after: None }, now);
                match error.kind() {
                    ErrorKind::Connect => state.connect_failed(now),
                    _ => state.connection_broke(now),
                }
                backend.outliers().record(at, Observed::Local, now);
                endpoint.failed_with(ended);
                recorded(backend, permit.as_mut(), true, took, now);
            } else {
                state.record_with(balance, took, Outcome::Cancelled, now);
            }
            Err(error)
        }
    }
}

fn recorded(
    backend: &BackendView,
    permit: Option<&mut Permit>,
    failed: bool,
    took: Duration,
    now: Instant,
) {
    if let Some(mesh_core::breaker::Event::Opened { failed, slow, .. }) =
        permit.and_then(|permit| permit.record(failed, took, now))
    {
        let why = if failed >= slow { "failures" } else { "slow" };
        backend.count(names::BREAKER_OPENED, why);
    }
}
