use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use mesh_core::live::Live;
use mesh_core::name::ServiceName;
use mesh_core::policy::model::Snapshot;
use mesh_core::report::{EndpointReport, Report};
use mesh_core::telemetry::names;
use tokio::sync::watch;

use super::ServiceView;
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
        use mesh_core::report::EndpointHealth;
        let recorder = self.edges.recorder();
        for service in self.latest().services.values() {
            for backend in service.backends() {
                let mut counts = [0_u32; 4];
                for (state, _) in backend.endpoints() {
                    counts[state.health() as usize] += 1;
                }
                let name = backend.policy().service().to_string();
                for state in [
                    EndpointHealth::Available,
                    EndpointHealth::Ejected,
                    EndpointHealth::Probing,
                    EndpointHealth::Unreachable,
                ] {
                    let state_name = state.to_string();
                    recorder
                        .gauge(
                            names::ENDPOINTS,
                            &[(names::SERVICE, &name), (names::STATE, &state_name)],
                        )
                        .set(f64::from(counts[state as usize]));
                }
            }
        }
    }
}
