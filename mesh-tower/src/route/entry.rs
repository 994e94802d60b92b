//! Routing of requests that come in from outside: an allow-list.
//!
//! A call inside the mesh that no route names goes to the service itself. At an ingress there is no
//! such service: what is not in a route of the policy goes nowhere, and no route leads back here.

use std::sync::{Arc, Mutex, PoisonError};

use http::{Extensions, HeaderMap, Request, Uri};
use mesh_core::error::{ErrorKind, MeshError};
use mesh_core::policy::model::Service;
use mesh_core::route::RouteTable;

/// Is told of what goes nowhere, in the form in which it was asked for.
pub(crate) type Unrouted = Arc<dyn Fn(&MeshError, Asked<'_>) + Send + Sync>;

/// A request, as far as it says where it should go and who has sent it.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) extensions: &'a Extensions,
}

/// The routes of one service for requests that arrive at one port.
#[derive(Clone)]
pub(crate) struct Entry {
    port: u16,
    unrouted: Unrouted,
    /// What this clone saw last.
    seen: Option<Compiled>,
    /// What any clone saw last: there is one for each connection.
    shared: Arc<Mutex<Option<Compiled>>>,
}

#[derive(Clone)]
struct Compiled {
    service: Arc<Service>,
    table: Arc<RouteTable>,
}

// === impl Entry ===

impl Entry {
    pub(crate) fn new(port: u16, unrouted: Unrouted) -> Self {
        Self {
            port,
            unrouted,
            seen: None,
            shared: Arc::default(),
        }
    }

    /// The routes of the policy for this port; made once for each change of the service.
    pub(super) fn table(&mut self, service: &Arc<Service>) -> Arc<RouteTable> {
        let is = |one: &&Compiled| Arc::ptr_eq(&one.service, service);
        if let Some(seen) = self.seen.as_ref().filter(is) {
            return seen.table.clone();
        }
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let compiled = match shared.as_ref().filter(is) {
            Some(compiled) => compiled.clone(),
            None => {
                let compiled = Compiled {
                    service: service.clone(),
                    table: Arc::new(compile(service, self.port)),
                };
                *shared = Some(compiled.clone());
                compiled
            }
        };
        drop(shared);
        let table = compiled.table.clone();
        self.seen = Some(compiled);
        table
    }

    /// Tells of a request that the routes send nowhere.
    pub(super) fn failed<B>(&self, error: &MeshError, request: &Request<B>) {
        if error.kind() == ErrorKind::NoRoute {
            let asked = Asked {
                uri: request.uri(),
                headers: request.headers(),
                extensions: request.extensions(),
            };
            (self.unrouted)(error, asked);
        }
    }
}

fn compile(service: &Service, port: u16) -> RouteTable {
    let routes = service.all_routes().iter().filter(|(at, route)| {
        // The default route has no origin.
        at.is_none_or(|at| at == port) && route.origin().resource().is_some()
    });
    RouteTable::new(routes.map(|(_, route)| route.clone()))
}
