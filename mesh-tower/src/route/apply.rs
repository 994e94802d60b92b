use std::sync::Arc;

use http::{Request, Response};
use mesh_core::error::{ErrorKind, MeshError};
use mesh_core::policy::model::Route;
use mesh_core::route::RouteTable;

use crate::body::MeshBody;
use crate::context::{CallContext, Chosen};
use crate::headers::{self, ResponseEdits};
use crate::live_view::{ServiceView, Settings};

/// What becomes of a request.
pub(super) enum Applied {
    /// Sent on, with edits that wait for the response.
    Forward(Option<ResponseEdits>),
    /// Answered here.
    Answer(Response<MeshBody>),
}

/// Routes a call by the pinned view.
pub(super) fn routed<B>(
    service: &Arc<ServiceView>,
    port: Option<u16>,
    settings: &Settings,
    call: &CallContext,
    request: &mut Request<B>,
) -> Result<Applied, MeshError> {
    let table = service.model().routes(port);
    let Some(route) = table.find(request.method(), request.uri(), request.headers()) else {
        call.count_at(service.unrouted().clone());
        let message = format!(
            "no route matches {} {}",
            request.method(),
            request.uri().path()
        );
        return Err(no_route(message).with_service(service.name()));
    };
    let edge = service.edge(route).clone();
    let limit = if route.origin().resource().is_none() {
        Some(settings.deadline)
    } else {
        route.timeouts().request()
    };
    call.set_local_limit(limit);

    if let Some(redirect) = route.redirect() {
        call.count_at(edge);
        return headers::redirect(route, redirect, request).map(Applied::Answer);
    }
    let Some(target) = route.split().pick_target(&mut fastrand::Rng::new()) else {
        // Gateway API: a rule without any usable backend answers 500; ours says which rule.
        call.count_at(edge);
        let message = format!("{} has no backend with a weight", route.origin());
        return Err(MeshError::new(ErrorKind::Policy, message).with_service(service.name()));
    };
    let Some(backend) = service.backend(target.backend()) else {
        call.count_at(edge);
        let message = format!("{} refers to a backend that is not there", route.origin());
        return Err(MeshError::new(ErrorKind::Internal, message).with_service(service.name()));
    };
    let edits = ResponseEdits::of(route, Some(target));
    let untouched = route.filters().is_empty() && target.filters().is_empty();
    if !untouched {
        filter(route, request)?;
        headers::edit_request(target.filters(), request.headers_mut());
    }
    call.choose(Chosen {
        service: service.clone(),
        route: Some(route.clone()),
        backend: backend.clone(),
        edge,
    });
    Ok(Applied::Forward(edits))
}

/// Routes a call by a fixed table: what matches, its filters and its time limit.
pub(super) fn fixed<B>(
    table: &RouteTable,
    call: &CallContext,
    request: &mut Request<B>,
) -> Result<Applied, MeshError> {
    let Some(route) = table.find(request.method(), request.uri(), request.headers()) else {
        let message = format!(
            "no route matches {} {}",
            request.method(),
            request.uri().path()
        );
        return Err(no_route(message));
    };
    if let Some(limit) = route.timeouts().request() {
        call.set_local_limit(Some(limit));
    }
    if let Some(redirect) = route.redirect() {
        return headers::redirect(route, redirect, request).map(Applied::Answer);
    }
    filter(route, request)?;
    let edits = ResponseEdits::of(route, None);
    Ok(Applied::Forward(edits))
}

fn filter<B>(route: &Route, request: &mut Request<B>) -> Result<(), MeshError> {
    headers::edit_request(route.filters(), request.headers_mut());
    match route.rewrite() {
        Some(rewrite) => headers::rewrite(route, rewrite, request),
        None => Ok(()),
    }
}

pub(super) fn no_route(message: impl Into<String>) -> MeshError {
    MeshError::new(ErrorKind::NoRoute, message)
}
