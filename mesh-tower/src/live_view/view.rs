use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use mesh_core::breaker::Phase;
use mesh_core::live::Live;
use mesh_core::name::ServiceName;
use mesh_core::policy::model::Snapshot;
use mesh_core::report::{EndpointHealth, EndpointReport, Report};
use mesh_core::telemetry::names;
use tokio::sync::watch;

use super::{BackendView, ServiceView};
use crate::metrics::Edges;

/// Everything that a call reads, immutable.
pub(crate) struct LiveView {
    pub(super) version: u64,
    pub(super) policy_version: u64,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) services: HashMap<ServiceName, Arc<ServiceView>>,
    /// Services that the control plane says do not exist.
    pub(super) unknown: HashSet<ServiceName>,
    /// A feed delivers what is not there yet.
    pub(super) fed: bool,
}

/// What a view knows of a service.
pub(crate) enum Found<'a> {
    Here(&'a Arc<ServiceView>),
    /// Not asked for, or asked for and not delivered yet.
    NotYet,
    /// Nobody will deliver it.
    Never,
}

/// Where clients get views from.
#[derive(Clone)]
pub(crate) struct ViewReader {
    views: watch::Receiver<Arc<LiveView>>,
    edges: Arc<Edges>,
}

// === impl LiveView ===

impl LiveView {
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The store's version of the policy that this view was built from.
    pub(crate) fn policy_version(&self) -> u64 {
        self.policy_version
    }

    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    pub(crate) fn find(&self, service: &ServiceName) -> Found<'_> {
        if let Some(found) = self.services.get(service) {
            return Found::Here(found);
        }
        if self.snapshot.outbound().service(service).is_some() {
            return Found::NotYet;
        }
        if self.unknown.contains(service) || !self.fed {
            Found::Never
        } else {
            Found::NotYet
        }
    }

    pub(crate) fn is_fed(&self) -> bool {
        self.fed
    }
}

// === impl ViewReader ===

impl ViewReader {
    pub(super) fn new(views: watch::Receiver<Arc<LiveView>>, edges: Arc<Edges>) -> Self {
        Self { views, edges }
    }

    pub(crate) fn live(&self) -> Live<LiveView> {
        Live::watched(self.views.clone())
    }

    pub(crate) fn latest(&self) -> Arc<LiveView> {
        self.views.borrow().clone()
    }

    /// Adds what was counted since the last call, and how the endpoints are now.
    pub(crate) fn fill(&self, report: &mut Report) {
        report.edges = self.edges.report();
        let view = self.latest();
        let mut seen = HashSet::new();
        for service in view.services.values() {
            for backend in service.backends() {
                for (state, endpoint) in backend.endpoints() {
                    if seen.insert(endpoint.id()) {
                        report.endpoints.push(endpoint.report(backend, state));
                    }
                }
            }
        }
        report
            .endpoints
            .sort_by(|a: &EndpointReport, b| (&a.service, a.addr).cmp(&(&b.service, b.addr)));
    }

    /// Sets the gauges that are computed when somebody looks.
    pub(crate) fn refresh_gauges(&self) {
        let recorder = self.edges.recorder();
        let mut sums: BTreeMap<String, Sums> = BTreeMap::new();
        let mut seen = HashSet::new();
        let set = |name, service: &str, value: f64| {
            let labels = [(names::SERVICE, service)];
            recorder.gauge(name, &labels).set(value);
        };
        for service in self.latest().services.values() {
            let balance = service.state().budget.balance(crate::runtime::now());
            let name = service.name().to_string();
            set(names::BUDGET_BALANCE, &name, balance as f64);
            for backend in service.backends() {
                // A backend of several services is one destination, with one count.
                if seen.insert(Arc::as_ptr(backend.state())) {
                    let name = backend.policy().service().to_string();
                    sums.entry(name).or_default().add(backend);
                }
            }
        }
        for (service, sums) in &sums {
            set(names::CALLS_IN_FLIGHT, service, sums.calls);
            set(names::ENDPOINT_WAITING, service, sums.for_endpoint);
            if let Some(phase) = sums.breaker {
                set(names::BREAKER_STATE, service, phase);
            }
            set(names::POOL_WAITING, service, sums.for_connection);
            for state in HEALTH {
                let state_name = state.to_string();
                let labels = [(names::SERVICE, &**service), (names::STATE, &*state_name)];
                let value = f64::from(sums.health[state as usize]);
                recorder.gauge(names::ENDPOINTS, &labels).set(value);
            }
            for (state, value) in [("active", sums.open - sums.idle), ("idle", sums.idle)] {
                let labels = [
                    (names::DIRECTION, "outbound"),
                    (names::SERVICE, &**service),
                    (names::STATE, state),
                ];
                recorder.gauge(names::CONNECTIONS, &labels).set(value);
            }
        }
    }
}

const HEALTH: [EndpointHealth; 5] = [
    EndpointHealth::Available,
    EndpointHealth::Ejected,
    EndpointHealth::Probing,
    EndpointHealth::Unreachable,
    EndpointHealth::Unhealthy,
];

/// What the backends of one service have now.
#[derive(Default)]
struct Sums {
    calls: f64,
    for_endpoint: f64,
    for_connection: f64,
    open: f64,
    idle: f64,
    health: [u32; 5],
    /// Of the breaker that is furthest from closed.
    breaker: Option<f64>,
}

// === impl Sums ===

impl Sums {
    fn add(&mut self, backend: &BackendView) {
        let (ceilings, room) = (backend.state().ceilings(), backend.state().room());
        let for_connection = room.waiting() as f64;
        self.calls += f64::from(ceilings.requests.used());
        self.for_connection += for_connection;
        if let Some(breaker) = backend.breaker() {
            let phase = match breaker.phase() {
                Phase::Closed => 0.0,
                Phase::HalfOpen => 1.0,
                Phase::Open => 2.0,
            };
            self.breaker = Some(self.breaker.unwrap_or(0.0).max(phase));
        }
        self.for_endpoint += (f64::from(ceilings.pending.used()) - for_connection).max(0.0);
        for (state, endpoint) in backend.endpoints() {
            self.health[state.health() as usize] += 1;
            let stats = endpoint.pool().stats();
            self.open += stats.open as f64;
            self.idle += stats.idle.min(stats.open) as f64;
        }
    }
}
