use std::sync::Arc;

use http::HeaderValue;
use mesh_core::context::Stamp;
use mesh_core::name::ServiceName;
use mesh_core::policy::model::{AppProtocol, BackendIx, Route, Service, Target};
use mesh_core::retry::Budget;
use mesh_core::route::session::SessionScope;

use super::BackendView;
use crate::fault::{Faults, Faulty};
use crate::metrics::{Edge, Edges};

/// What survives policy changes for a destination, shared by all clients of it.
pub(crate) struct ServiceState {
    pub(crate) budget: Budget,
}

/// A destination as one view has it: routes, backends and where to count.
pub(crate) struct ServiceView {
    model: Arc<Service>,
    state: Arc<ServiceState>,
    /// The backends that the routes refer to; few, so a scan beats a map.
    backends: Vec<(BackendIx, Arc<BackendView>)>,
    /// By address of the route (only compared, never followed), ascending.
    routes: Vec<(usize, RouteState)>,
    unrouted: Arc<Edge>,
    revision: Arc<str>,
}

/// The target of a call, as positions in the view of its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Position among the routes.
    pub(crate) route: u32,
    /// Position in the route's split.
    pub(crate) target: u32,
}

/// What a view knows of a route beside its policy.
pub(crate) struct RouteState {
    /// Where its calls are counted.
    pub(crate) edge: Arc<Edge>,
    /// `x-mesh-routed` of calls to each target of its split, in their order.
    stamps: Vec<HeaderValue>,
    /// Its fault, if the policy gives it one.
    pub(crate) fault: Option<Arc<Faulty>>,
    /// What its sessions are salted with, if it has any.
    pub(crate) session: Option<SessionScope>,
    /// Nothing but match, split and send: no filter, no session, no copy, no fault.
    pub(crate) plain: bool,
}

// === impl ServiceView ===

impl ServiceView {
    pub(crate) fn new(
        model: Arc<Service>,
        state: Arc<ServiceState>,
        backends: Vec<(BackendIx, Arc<BackendView>)>,
        edges: &Edges,
        faults: &Faults,
        revision: Arc<str>,
    ) -> Self {
        let to: Arc<str> = model.name().to_string().into();
        let mut by_route: Vec<_> = Vec::new();
        let mut add = |route: &Arc<Route>| {
            if by_route.iter().any(|(known, _)| *known == address(route)) {
                return;
            }
            let edge = edges.edge(&to, route.name());
            let state = RouteState::new(route, edge, faults, &to, &backends);
            by_route.push((address(route), state));
        };
        for (port, route) in model.all_routes() {
            add(route);
            for route in model.routes(*port).routes() {
                add(route);
            }
        }
        for route in model.routes(None).routes() {
            add(route);
        }
        by_route.sort_by_key(|(address, _)| *address);
        let unrouted = edges.edge(&to, &Arc::from(NO_ROUTE));
        Self {
            model,
            state,
            backends,
            routes: by_route,
            unrouted,
            revision,
        }
    }

    pub(crate) fn name(&self) -> &ServiceName {
        self.model.name()
    }

    pub(crate) fn model(&self) -> &Arc<Service> {
        &self.model
    }

    pub(crate) fn state(&self) -> &Arc<ServiceState> {
        &self.state
    }

    /// The policy's revision that this view was built from.
    pub(crate) fn revision(&self) -> &Arc<str> {
        &self.revision
    }

    pub(crate) fn backend(&self, ix: BackendIx) -> Option<&Arc<BackendView>> {
        self.backends
            .iter()
            .find(|(at, _)| *at == ix)
            .map(|(_, backend)| backend)
    }

    /// What is spoken to the service at a port.
    pub(crate) fn protocol(&self, port: Option<u16>) -> AppProtocol {
        self.backend(self.model.backend(port))
            .map(|backend| backend.policy().app_protocol())
            .unwrap_or_default()
    }

    pub(crate) fn backends(&self) -> impl Iterator<Item = &Arc<BackendView>> {
        self.backends.iter().map(|(_, backend)| backend)
    }

    /// What is known of a route, and its place; `None` for one of another view.
    pub(crate) fn route(&self, route: &Arc<Route>) -> Option<(usize, &RouteState)> {
        let at = self
            .routes
            .binary_search_by_key(&address(route), |(address, _)| *address)
            .ok()?;
        self.routes.get(at).map(|(_, state)| (at, state))
    }

    /// `x-mesh-routed` of calls to a target.
    pub(crate) fn stamp(&self, place: Place) -> Option<&HeaderValue> {
        let (_, state) = self.routes.get(place.route as usize)?;
        state.stamps.get(place.target as usize)
    }

    /// Where calls that match no route are counted.
    pub(crate) fn unrouted(&self) -> &Arc<Edge> {
        &self.unrouted
    }
}

/// The route's name where there is none.
pub(crate) const NO_ROUTE: &str = "(none)";

// === impl RouteState ===

impl RouteState {
    fn new(
        route: &Route,
        edge: Arc<Edge>,
        faults: &Faults,
        to: &str,
        backends: &[(BackendIx, Arc<BackendView>)],
    ) -> Self {
        let stamp = |target: &Target| {
            let backend = backends.iter().find(|(ix, _)| *ix == target.backend());
            let name = backend.map(|(_, backend)| backend.policy().service().to_string());
            let stamp = Stamp {
                service: to,
                route: route.name(),
                backend: name.as_deref().unwrap_or(to),
            };
            stamp.to_header()
        };
        let targets = route.split().targets();
        Self {
            edge,
            stamps: targets.iter().map(stamp).collect(),
            fault: route.fault().map(|fault| faults.of(fault.name())),
            session: route.session().map(|_| SessionScope::of(route)),
            plain: route.filters().is_empty()
                && targets
                    .iter()
                    .all(|target| target.filters().is_empty() && target.mirrors().is_empty())
                && route.mirrors().is_empty()
                && route.direct().is_none()
                && route.fault().is_none()
                && route.session().is_none()
                && route.sticky().is_none()
                && route.trailers().is_none(),
        }
    }
}

fn address(route: &Arc<Route>) -> usize {
    Arc::as_ptr(route) as usize
}
