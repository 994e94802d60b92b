//! What is kept of a backend from one view to the next.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::balance::{self, EndpointInfo};
use mesh_core::identity::SpiffeId;
use mesh_core::policy::model::{Backend, SubsetFallback};

use super::discovery::Discovered;
use super::reconciler::Reconciler;
use super::{BackendState, BackendView, Endpoint};
use crate::client::logical_stack;
use crate::health_check::Checks;
use crate::mesh::UserLayers;
use crate::runtime;
use crate::telemetry::Recorder;

/// An endpoint's identity across answers of discovery.
type Key = (SocketAddr, Option<SpiffeId>);

/// What the reconciler holds of a backend between views.
pub(super) struct Held {
    pub(super) discovered: Discovered,
    pub(super) state: Arc<BackendState>,
    pub(super) view: Arc<BackendView>,
    pub(super) endpoints: HashMap<Key, Arc<Endpoint>>,
    /// Endpoints that discovery no longer names, kept because they still work.
    pub(super) kept: bool,
    pub(super) checks: Checks,
    pub(super) used: bool,
}

impl Reconciler {
    pub(super) fn backend(&mut self, policy: &Arc<Backend>) -> Arc<BackendView> {
        let recorder = self.edges.recorder().clone();
        let mut held = match self.backends.remove(policy.key()) {
            Some(held) => held,
            None => self.hold(policy, &recorder),
        };
        if !held.discovered.is(policy.discovery()) {
            held.discovered = Discovered::start(policy.discovery(), &self.shared);
        }
        held.state.update(policy);
        held.used = true;

        let place = self.shared.place();
        let answer = held.discovered.answer();
        let discovered = answer.is_some() || held.view.is_discovered();
        let infos = match answer {
            // Nobody knows (any more): what there is stays.
            None => held
                .view
                .set()
                .iter()
                .map(|state| state.info().clone())
                .collect(),
            Some(answer) => {
                let named = selected(policy, &answer, place.seed);
                held.kept = named.is_empty() && !held.view.set().is_empty();
                if held.kept {
                    still_working(&held)
                } else {
                    named
                }
            }
        };
        let before = held.view.set();
        let set = match before.is_of(&infos) {
            true => before.clone(),
            false => {
                let set = before.next(infos);
                set.warm_up_since(before, runtime::now());
                set
            }
        };
        let mut endpoints = HashMap::new();
        let mut in_order = Vec::with_capacity(set.len());
        for state in set.iter() {
            let info = state.info();
            let key = (info.addr, info.identity.clone());
            let endpoint = match held.endpoints.get(&key) {
                Some(endpoint) => {
                    endpoint.pool().tune(policy.connection(), info.alternate);
                    endpoint.clone()
                }
                None => {
                    let pool = self.connector.pool(policy, info, held.state.room());
                    Arc::new(Endpoint::new(pool, |seam| {
                        UserLayers::apply(&self.layers.endpoint, seam)
                    }))
                }
            };
            endpoints.insert(key, endpoint.clone());
            in_order.push(endpoint);
        }
        held.endpoints = endpoints;
        let view = BackendView::new(
            policy.clone(),
            held.state.clone(),
            set,
            in_order,
            Some(&held.view),
            discovered,
            &place,
            &recorder,
        );
        if !view.same_as(&held.view) {
            held.view = Arc::new(view);
            held.state.latest().send_replace(Some(held.view.clone()));
        }
        let view = held.view.clone();
        let service = view.service();
        let of_view = view.endpoints().map(|(state, one)| (one.id(), state));
        held.checks.update(
            policy.health(),
            of_view,
            |state| self.connector.reach(policy, state.info()),
            service,
            &recorder,
        );
        self.backends.insert(policy.key().clone(), held);
        view
    }

    fn hold(&self, policy: &Arc<Backend>, recorder: &Recorder) -> Held {
        let logical = logical_stack(&self.layers, self.settings.wait, recorder.tracing());
        let state = Arc::new(BackendState::new(policy, logical, recorder));
        let view = Arc::new(BackendView::new(
            policy.clone(),
            state.clone(),
            Default::default(),
            Vec::new(),
            None,
            false,
            &self.shared.place(),
            recorder,
        ));
        state.latest().send_replace(Some(view.clone()));
        Held {
            discovered: Discovered::start(policy.discovery(), &self.shared),
            state,
            view,
            endpoints: HashMap::new(),
            kept: false,
            checks: Checks::default(),
            used: true,
        }
    }
}

// === impl Held ===

impl Held {
    /// A backend and its newest view hold each other; this lets both go with their last call.
    pub(super) fn release(&self) {
        self.state.latest().send_replace(None);
    }
}

/// The endpoints of a backend among those that discovery names: its subset by labels, and of these
/// the ones that this process uses.
fn selected(policy: &Backend, answer: &[EndpointInfo], seed: u64) -> Vec<EndpointInfo> {
    let has_labels = |info: &&EndpointInfo| policy.selects(&info.labels);
    let mut named: Vec<_> = answer.iter().filter(has_labels).cloned().collect();
    if named.is_empty() && policy.subset_fallback() == SubsetFallback::AnyEndpoint {
        named = answer.to_vec();
    }
    if let Some(port) = policy.target_port() {
        named.iter_mut().for_each(|info| info.addr.set_port(port));
    }
    balance::subset(named, policy.balance().subset_size(), seed)
}

/// Endpoints that discovery does not name any more but that can still be used. Only asked when it
/// names none at all: then evidence counts more than its word.
fn still_working(held: &Held) -> Vec<EndpointInfo> {
    let works = |info: &EndpointInfo| {
        held.endpoints
            .get(&(info.addr, info.identity.clone()))
            .is_some_and(|endpoint| endpoint.pool().stats().open > 0)
    };
    held.view
        .set()
        .iter()
        .filter(|state| state.is_reachable() && works(state.info()))
        .map(|state| state.info().clone())
        .collect()
}
