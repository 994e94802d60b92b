use std::sync::Arc;

use http::{Request, Response};
use mesh_core::error::{ErrorKind, MeshError};
use mesh_core::fault::Injection;
use mesh_core::policy::model::{Filter, Redirect, Rewrite, Route, Target};
use mesh_core::route::{Matched, RouteTable};

use super::after::{After, SessionAfter};
use super::choose::choose;
use super::target::MeshSource;
use crate::body::MeshBody;
use crate::context::{CallContext, Chosen};
use crate::fault;
use crate::headers::{self, ResponseEdits};
use crate::live_view::{Place, RouteState, ServiceView};
use crate::mirror::{Duplicate, Origin};

/// What becomes of a request.
pub(super) enum Applied {
    /// Sent on.
    Forward(Forward),
    /// Answered here.
    Answer(Response<MeshBody>),
}

/// What is left to do with a request that is sent on; nothing, for most.
#[derive(Default)]
pub(super) struct Forward {
    /// When the answer comes.
    pub(super) after: Option<Box<After>>,
    /// Before it is sent.
    pub(super) before: Option<Box<Before>>,
}

/// What few routes do before a call is sent.
pub(super) struct Before {
    pub(super) fault: Option<Injection>,
    pub(super) copies: Vec<Duplicate>,
}

/// Routes a call by the pinned view.
pub(super) fn routed<B>(
    source: &mut MeshSource,
    service: &Arc<ServiceView>,
    port: Option<u16>,
    call: &CallContext,
    request: &mut Request<B>,
) -> Result<Applied, MeshError> {
    let entered;
    let table = match &mut source.entry {
        None => service.model().routes(port),
        Some(entry) => {
            entered = entry.table(service.model());
            &entered
        }
    };
    let found = table.find_match(request.method(), request.uri(), request.headers());
    let Some(matched) = found else {
        call.count_at(service.unrouted().clone());
        return Err(unmatched(request).with_service(service.name()));
    };
    let route = matched.route;
    let limit = if route.origin().resource().is_none() {
        Some(source.settings.deadline)
    } else {
        route.timeouts().request()
    };
    call.set_local_limit(limit);

    let Some(state) = service.route(route) else {
        let error = MeshError::new(ErrorKind::Internal, "a route that is not of this view");
        return Err(error.with_service(service.name()));
    };
    let applied = if state.1.plain {
        let target = route.split().pick_target(&mut fastrand::Rng::new());
        target
            .ok_or_else(|| weightless(route, service))
            .and_then(|target| leads_on(source, service, route, target).map(|()| target))
            .and_then(|target| send_to(service, route, state, target, call, None))
            .map(|()| Applied::Forward(Forward::default()))
    } else {
        with_extras(source, service, port, matched, state, call, request)
    };
    // A call that is sent on is counted where it was sent.
    if call.chosen().is_none() {
        call.count_at(state.1.edge.clone());
    }
    applied
}

/// The way of the routes that do more than match, split and send.
fn with_extras<B>(
    source: &MeshSource,
    service: &Arc<ServiceView>,
    port: Option<u16>,
    matched: Matched<'_>,
    state: (usize, &RouteState),
    call: &CallContext,
    request: &mut Request<B>,
) -> Result<Applied, MeshError> {
    let route = matched.route;
    let port = match source.entry {
        None => port.or_else(|| service.model().first_port()),
        // The port that clients outside know may be another than the one listened on.
        Some(_) => None,
    };
    if let Some(answer) = answered(matched, port, call, request)? {
        return Ok(Applied::Answer(answer));
    }
    // The gate of a fault is what the caller sent, so it is looked at before any edit.
    let faulty = route.fault().zip(state.1.fault.as_ref());
    let fault = faulty.and_then(|(fault, faulty)| faulty.decide(fault, request.headers()));

    let mut after = After::default();
    let choice = choose(route, state.1, &source.mesh.source, request, &mut after)
        .ok_or_else(|| weightless(route, service))?;
    let target = choice.target;
    leads_on(source, service, route, target)?;
    after.edits = ResponseEdits::of(route, Some(target));
    after.trailers = route.trailers().cloned();
    if let Some(scope) = state.1.session {
        after.session = Some(SessionAfter {
            call: call.clone(),
            scope,
            backend: target.tag(),
        });
    }
    filter(matched, request)?;
    if let Some(redirect) = find_redirect(target.filters()) {
        let mut answer = headers::redirect(matched.prefix(), redirect, port, request)?;
        after.apply(&mut answer);
        return Ok(Applied::Answer(answer));
    }
    let aborted = fault.as_ref().is_some_and(|fault| fault.abort().is_some());
    let copies = match aborted {
        true => Vec::new(),
        false => copies(source, service, route, target, call, request),
    };
    headers::edit_request(target.filters(), request.headers_mut());
    if let Some(rewrite) = find_rewrite(target.filters()) {
        headers::rewrite(matched.prefix(), rewrite, request)?;
    }
    let session = choice.session.map(Box::new);
    send_to(service, route, state, target, call, session)?;
    let before =
        (fault.is_some() || !copies.is_empty()).then(|| Box::new(Before { fault, copies }));
    Ok(Applied::Forward(Forward {
        after: (!after.is_nothing()).then(|| Box::new(after)),
        before,
    }))
}

/// The answer of a rule that sends nothing.
fn answered<B>(
    matched: Matched<'_>,
    port: Option<u16>,
    call: &CallContext,
    request: &Request<B>,
) -> Result<Option<Response<MeshBody>>, MeshError> {
    let route = matched.route;
    let mut answer = if let Some(redirect) = route.redirect() {
        headers::redirect(matched.prefix(), redirect, port, request)?
    } else if let Some(direct) = route.direct() {
        fault::direct(direct, request.method(), call.is_grpc())
    } else {
        return Ok(None);
    };
    if let Some(edits) = ResponseEdits::of(route, None) {
        edits.apply(answer.headers_mut());
    }
    Ok(Some(answer))
}

/// At an ingress, that a rule sends to another service than that of the ingress.
fn leads_on(
    source: &MeshSource,
    service: &ServiceView,
    route: &Route,
    target: &Target,
) -> Result<(), MeshError> {
    let back = source.entry.is_some()
        && service
            .backend(target.backend())
            .is_some_and(|backend| backend.policy().service() == service.name());
    match back {
        false => Ok(()),
        true => {
            let message = format!(
                "{} has no backendRefs to another service: at an ingress it sends nowhere",
                route.origin()
            );
            Err(no_route(message).with_service(service.name()))
        }
    }
}

/// Notes where the call goes, for all layers below.
fn send_to(
    service: &Arc<ServiceView>,
    route: &Arc<Route>,
    state: (usize, &RouteState),
    target: &Target,
    call: &CallContext,
    session: Option<Box<mesh_core::route::session::Session>>,
) -> Result<(), MeshError> {
    let Some(backend) = service.backend(target.backend()) else {
        let message = format!("{} refers to a backend that is not there", route.origin());
        return Err(MeshError::new(ErrorKind::Internal, message).with_service(service.name()));
    };
    let targets = route.split().targets();
    let at = targets.iter().position(|one| std::ptr::eq(one, target));
    let position = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    call.choose(Chosen {
        service: service.clone(),
        route: Some(route.clone()),
        backend: backend.clone(),
        edge: state.1.edge.clone(),
        place: Place {
            route: position(state.0),
            target: at.map_or(u32::MAX, position),
        },
        session,
    });
    Ok(())
}

/// The copies of a call that its route and its target ask for.
fn copies<B>(
    source: &MeshSource,
    service: &ServiceView,
    route: &Route,
    target: &Target,
    call: &CallContext,
    request: &Request<B>,
) -> Vec<Duplicate> {
    let limit = route
        .timeouts()
        .request()
        .unwrap_or(source.settings.deadline);
    let origin = Origin {
        call,
        service: &service.name().to_string(),
        route: route.name(),
        limit,
    };
    route
        .mirrors()
        .iter()
        .chain(target.mirrors().iter())
        .filter_map(|mirror| {
            let backend = service.backend(mirror.backend())?;
            let back = source.entry.is_some() && backend.policy().service() == service.name();
            let backend = (!back).then_some(backend)?;
            source.mesh.mirrors.draw(mirror, backend, &origin, request)
        })
        .collect()
}

/// Routes a call by a fixed table: what matches, its filters and its time limit.
pub(super) fn fixed<B>(
    table: &RouteTable,
    call: &CallContext,
    request: &mut Request<B>,
) -> Result<Applied, MeshError> {
    let found = table.find_match(request.method(), request.uri(), request.headers());
    let matched = found.ok_or_else(|| unmatched(request))?;
    let route = matched.route;
    if let Some(limit) = route.timeouts().request() {
        call.set_local_limit(Some(limit));
    }
    if let Some(answer) = answered(matched, None, call, request)? {
        return Ok(Applied::Answer(answer));
    }
    filter(matched, request)?;
    let after = After {
        edits: ResponseEdits::of(route, None),
        trailers: route.trailers().cloned(),
        ..After::default()
    };
    Ok(Applied::Forward(Forward {
        after: (!after.is_nothing()).then(|| Box::new(after)),
        before: None,
    }))
}

fn filter<B>(matched: Matched<'_>, request: &mut Request<B>) -> Result<(), MeshError> {
    headers::edit_request(matched.route.filters(), request.headers_mut());
    match find_rewrite(matched.route.filters()) {
        Some(rewrite) => headers::rewrite(matched.prefix(), rewrite, request),
        None => Ok(()),
    }
}

fn find_rewrite(filters: &[Filter]) -> Option<&Rewrite> {
    filters.iter().find_map(|filter| match filter {
        Filter::Rewrite(rewrite) => Some(rewrite),
        _ => None,
    })
}

fn find_redirect(filters: &[Filter]) -> Option<&Redirect> {
    filters.iter().find_map(|filter| match filter {
        Filter::Redirect(redirect) => Some(redirect),
        _ => None,
    })
}

/// Gateway API: a rule without any usable backend answers 500; ours says which rule.
fn weightless(route: &Route, service: &ServiceView) -> MeshError {
    let message = format!("{} has no backend with a weight", route.origin());
    MeshError::new(ErrorKind::Policy, message).with_service(service.name())
}

fn unmatched<B>(request: &Request<B>) -> MeshError {
    let (method, path) = (request.method(), request.uri().path());
    no_route(format!("no route matches {method} {path}"))
}

pub(super) fn no_route(message: impl Into<String>) -> MeshError {
    MeshError::new(ErrorKind::NoRoute, message)
}
