use std::sync::Arc;

use mesh_core::name::ServiceName;
use mesh_core::policy::model::{BackendIx, Route, Service};
use mesh_core::retry::Budget;

use super::BackendView;
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
    edges: Vec<(usize, Arc<Edge>)>,
    unrouted: Arc<Edge>,
    revision: Arc<str>,
}

// === impl ServiceView ===

impl ServiceView {
    pub(crate) fn new(
        model: Arc<Service>,
        state: Arc<ServiceState>,
        backends: Vec<(BackendIx, Arc<BackendView>)>,
        edges: &Edges,
        revision: Arc<str>,
    ) -> Self {
        let to: Arc<str> = model.name().to_string().into();
        let mut by_route: Vec<_> = Vec::new();
        let mut add = |route: &Arc<Route>| {
            by_route.push((address(route), edges.edge(&to, route.name())));
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
        by_route.dedup_by_key(|(address, _)| *address);
        let unrouted = edges.edge(&to, &Arc::from(NO_ROUTE));
        Self {
            model,
            state,
            backends,
            edges: by_route,
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

    pub(crate) fn backends(&self) -> impl Iterator<Item = &Arc<BackendView>> {
        self.backends.iter().map(|(_, backend)| backend)
    }

    /// Where calls over a route are counted.
    pub(crate) fn edge(&self, route: &Arc<Route>) -> &Arc<Edge> {
        self.edges
            .binary_search_by_key(&address(route), |(address, _)| *address)
            .ok()
            .and_then(|at| self.edges.get(at))
            .map_or(&self.unrouted, |(_, edge)| edge)
    }

    /// Where calls that match no route are counted.
    pub(crate) fn unrouted(&self) -> &Arc<Edge> {
        &self.unrouted
    }
}

/// The route's name where there is none.
pub(crate) const NO_ROUTE: &str = "(none)";

fn address(route: &Arc<Route>) -> usize {
    Arc::as_ptr(route) as usize
}
