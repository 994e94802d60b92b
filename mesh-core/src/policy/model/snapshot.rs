use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{
    AccessModel, Backend, BackendIx, Discovery, InboundTraffic, Route, RouteTimeouts,
    TransportModel,
};
use crate::name::{ServiceName, ServiceTarget};
use crate::policy::error::PolicyError;
use crate::route::RouteTable;

/// The whole policy at one moment. A clone is a few counters.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) version: u64,
    pub(crate) revision: Arc<str>,
    pub(crate) outbound: Arc<Outbound>,
    pub(crate) inbound: Arc<Inbound>,
    pub(crate) warnings: Arc<[PolicyError]>,
}

/// What concerns calls to others.
#[derive(Default)]
pub struct Outbound {
    pub(crate) services: HashMap<ServiceName, Arc<Service>>,
    pub(crate) hosts: HashMap<Arc<str>, ServiceName>,
    pub(crate) backends: Vec<Arc<Backend>>,
}

/// A destination: its routes, and the backend that it is itself.
pub struct Service {
    pub(crate) name: ServiceName,
    pub(crate) tables: Vec<(Option<u16>, Arc<RouteTable>)>,
    pub(crate) routes: Vec<(Option<u16>, Arc<Route>)>,
    pub(crate) default_backend: BackendIx,
    pub(crate) port_backends: Vec<(u16, BackendIx)>,
    pub(crate) discovery: Discovery,
    pub(crate) implicit: bool,
}

/// What concerns calls from others.
#[derive(Default)]
pub struct Inbound {
    pub(crate) access: Attached<AccessModel>,
    pub(crate) transport: Attached<TransportModel>,
    pub(crate) traffic: Attached<InboundTraffic>,
}

/// A value per service, else per namespace, else for the mesh, already merged.
pub(crate) struct Attached<T> {
    pub(crate) services: BTreeMap<ServiceName, Arc<T>>,
    pub(crate) namespaces: BTreeMap<Arc<str>, Arc<T>>,
    pub(crate) mesh: Arc<T>,
}

// === impl Snapshot ===

impl Default for Snapshot {
    /// No policy at all.
    fn default() -> Self {
        Self {
            version: 0,
            revision: "0000000000000000".into(),
            outbound: Arc::default(),
            inbound: Arc::default(),
            warnings: Arc::default(),
        }
    }
}

impl Snapshot {
    /// Counts the snapshots of one store; 0 is the empty one. Means nothing in another process.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Hash of the content, 16 hex digits: the same in every process that has the same policy.
    pub fn revision(&self) -> &Arc<str> {
        &self.revision
    }

    /// What concerns calls to others.
    pub fn outbound(&self) -> &Outbound {
        &self.outbound
    }

    /// What concerns calls from others.
    pub fn inbound(&self) -> &Inbound {
        &self.inbound
    }

    /// Findings that did not refuse the policy.
    pub fn warnings(&self) -> &[PolicyError] {
        &self.warnings
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("version", &self.version)
            .field("revision", &self.revision)
            .field("services", &self.outbound.services.len())
            .field("backends", &self.outbound.backends.len())
            .finish_non_exhaustive()
    }
}

// === impl Outbound ===

impl Outbound {
    /// The service of that name.
    pub fn service(&self, name: &ServiceName) -> Option<&Arc<Service>> {
        self.services.get(name)
    }

    /// The service that a request's host means: `reviews.shop`, with the endings of Kubernetes, or
    /// the host of an external service. Case does not matter. With a port, the service must have
    /// that port if it names any.
    pub fn resolve_host(&self, host: &str, port: Option<u16>) -> Option<&Arc<Service>> {
        let lower;
        let host = if host.bytes().any(|b| b.is_ascii_uppercase()) {
            lower = host.to_ascii_lowercase();
            lower.as_str()
        } else {
            host
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        let name = self.hosts.get(host).or_else(|| {
            let short = host.strip_suffix(".svc.cluster.local");
            self.hosts.get(short.or_else(|| host.strip_suffix(".svc"))?)
        })?;
        self.services.get(name).filter(|s| s.has_port(port))
    }

    /// The service of a target.
    pub fn resolve(&self, target: &ServiceTarget) -> Option<&Arc<Service>> {
        self.service(&target.service)
            .filter(|s| s.has_port(target.port))
    }

    /// Every service, in no order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// Every backend; [`BackendIx`] is the position here. A backend that an update did not change
    /// is the same `Arc` at the same position; only when one is removed the last may take its place.
    pub fn backends(&self) -> &[Arc<Backend>] {
        &self.backends
    }

    /// The backend at a position of this snapshot.
    pub fn backend(&self, ix: BackendIx) -> Option<&Arc<Backend>> {
        self.backends.get(ix.get())
    }
}

// === impl Service ===

impl Service {
    /// Its name.
    pub fn name(&self) -> &ServiceName {
        &self.name
    }

    /// The routes of calls to `port`: those for this port, and those for all. The last one is the
    /// default route to the service itself unless a route of the policy applies to the service.
    pub fn routes(&self, port: Option<u16>) -> &Arc<RouteTable> {
        let exact = self.tables.iter().find(|(p, _)| *p == port);
        // The table for all ports is always there, and is the last.
        &exact.unwrap_or(&self.tables[self.tables.len() - 1]).1
    }

    /// All routes with the port that they are limited to.
    pub fn all_routes(&self) -> &[(Option<u16>, Arc<Route>)] {
        &self.routes
    }

    /// The backend that the service is itself, at its only or first port.
    pub fn default_backend(&self) -> BackendIx {
        self.default_backend
    }

    /// The port that a call which names none goes to.
    pub fn first_port(&self) -> Option<u16> {
        self.port_backends.first().map(|(port, _)| *port)
    }

    /// The backend that the service is at `port`.
    pub fn backend(&self, port: Option<u16>) -> BackendIx {
        self.port_backends
            .iter()
            .find(|(p, _)| Some(*p) == port)
            .map_or(self.default_backend, |(_, ix)| *ix)
    }

    /// Where endpoints come from.
    pub fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    /// Whether no resource defines it, and it is there because something refers to it.
    pub fn is_implicit(&self) -> bool {
        self.implicit
    }

    fn has_port(&self, port: Option<u16>) -> bool {
        self.port_backends.is_empty()
            || port.is_none_or(|p| self.port_backends.iter().any(|(known, _)| *known == p))
    }
}

impl PartialEq for Service {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.default_backend == other.default_backend
            && self.port_backends == other.port_backends
            && self.discovery == other.discovery
            && self.implicit == other.implicit
            && self.routes == other.routes
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("name", &self.name)
            .field("routes", &self.routes)
            .field("default_backend", &self.default_backend)
            .finish_non_exhaustive()
    }
}

// === impl Inbound ===

impl Inbound {
    /// Who may call `service`.
    pub fn access_for(&self, service: &ServiceName) -> Arc<AccessModel> {
        self.access.get(service)
    }

    /// How servers of `service` accept connections.
    pub fn transport_for(&self, service: &ServiceName) -> Arc<TransportModel> {
        self.transport.get(service)
    }

    /// Every way of accepting connections that a policy or a default sets, the mesh's first; the same
    /// one may come more than once.
    pub fn transports(&self) -> impl Iterator<Item = &Arc<TransportModel>> {
        let all = &self.transport;
        std::iter::once(&all.mesh)
            .chain(all.namespaces.values())
            .chain(all.services.values())
    }

    /// What servers of `service` do with the calls that arrive.
    pub fn traffic_for(&self, service: &ServiceName) -> Arc<InboundTraffic> {
        self.traffic.get(service)
    }

    /// Time limits of calls that arrive.
    pub fn timeouts(&self) -> RouteTimeouts {
        RouteTimeouts::default()
    }
}

// === impl Attached ===

impl<T> Attached<T> {
    fn get(&self, service: &ServiceName) -> Arc<T> {
        self.services
            .get(service)
            .or_else(|| self.namespaces.get(service.namespace()))
            .unwrap_or(&self.mesh)
            .clone()
    }
}

impl<T: Default> Default for Attached<T> {
    fn default() -> Self {
        Self {
            services: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            mesh: Arc::default(),
        }
    }
}

const _: fn() = || {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Snapshot>();
};
