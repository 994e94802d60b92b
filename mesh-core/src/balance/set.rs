use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use super::group::Group;
use super::{EndpointInfo, EndpointState};
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// The endpoints of a destination at one moment. Immutable; a clone is one counter.
///
/// Dereferences to a slice of states; positions in it are what a pick returns.
#[derive(Clone)]
pub struct EndpointSet(Arc<Inner>);

struct Inner {
    endpoints: Arc<[Arc<EndpointState>]>,
    /// All of them.
    whole: Group,
    /// Stable ids, ascending, and who has each.
    ids: Box<[(u64, u32)]>,
    load: Arc<Load>,
}

/// Calls in flight at all endpoints of a set and of those before and after it, while somebody wants
/// to know.
#[derive(Debug, Default)]
pub(super) struct Load {
    pub(super) counting: AtomicBool,
    pub(super) in_flight: AtomicU32,
}

// === impl EndpointSet ===

impl EndpointSet {
    /// A set in which nothing has been observed yet.
    pub fn new(infos: impl IntoIterator<Item = EndpointInfo>) -> Self {
        Self::empty().next(infos)
    }

    /// No endpoints.
    pub fn empty() -> Self {
        Self::from_states(Vec::new(), Arc::default())
    }

    /// The set that follows this one: states are kept by address and identity. A second endpoint
    /// with the same address and identity is left out.
    #[must_use]
    pub fn next(&self, infos: impl IntoIterator<Item = EndpointInfo>) -> Self {
        let known: HashMap<_, _> = self.iter().map(|e| (key(e.info()), e)).collect();
        let mut taken = std::collections::HashSet::new();
        let mut states = Vec::new();
        for info in infos {
            if !taken.insert((info.addr, info.identity.clone())) {
                continue;
            }
            states.push(match known.get(&key(&info)) {
                Some(state) if *state.info() == info => Arc::clone(state),
                Some(state) => Arc::new(state.renewed(info)),
                None => Arc::new(EndpointState::new(info, self.0.load.clone())),
            });
        }
        Self::from_states(states, self.0.load.clone())
    }

    /// Whether it holds just these endpoints, in this order.
    pub fn is_of(&self, infos: &[EndpointInfo]) -> bool {
        self.len() == infos.len() && self.iter().zip(infos).all(|(e, info)| e.info() == info)
    }

    /// Lets endpoints that `before` did not have take their share by and by from `now` on (slow
    /// start), if it had any.
    pub fn warm_up_since(&self, before: &Self, now: Instant) {
        if before.is_empty() {
            return;
        }
        for state in self.iter() {
            let known = before.position(state.id()).is_some();
            if !known {
                state.ejection().warm_up(now);
            }
        }
    }

    /// The endpoints that have all of `labels`, with their states shared.
    #[must_use]
    pub fn subset(&self, labels: &BTreeMap<String, String>) -> Self {
        let has = |e: &EndpointState| {
            labels
                .iter()
                .all(|(k, v)| e.info().labels.get(k) == Some(v))
        };
        let states = self.iter().filter(|e| has(e)).cloned().collect();
        Self::from_states(states, self.0.load.clone())
    }

    fn from_states(states: Vec<Arc<EndpointState>>, load: Arc<Load>) -> Self {
        let ids = states.iter().map(|state| state.id()).zip(0..);
        let mut ids: Vec<(u64, u32)> = ids.collect();
        ids.sort_unstable();
        Self(Arc::new(Inner {
            whole: Group::all(&states),
            endpoints: states.into(),
            ids: ids.into(),
            load,
        }))
    }

    /// The states, in the order that discovery gave.
    pub fn endpoints(&self) -> &Arc<[Arc<EndpointState>]> {
        &self.0.endpoints
    }

    /// How many are available at `now`. Above 32 endpoints the answer may be 20 ms old.
    pub fn available(&self, now: Instant) -> usize {
        self.0.whole.count(self.endpoints(), now).available
    }

    /// The position of the endpoint with this [stable id](EndpointState::id), for sessions.
    pub fn position(&self, id: u64) -> Option<usize> {
        let at = self.0.ids.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.0.ids.get(at).map(|(_, position)| *position as usize)
    }

    /// Whether connections to an endpoint outside of `exclude` succeed, as far as is known.
    pub fn is_reachable_but(&self, exclude: &[usize]) -> bool {
        self.iter().enumerate().any(|(ix, e)| {
            !exclude.contains(&ix)
                && e.is_reachable()
                && self.0.whole.weights.takes(e.info().weight)
        })
    }

    pub(super) fn whole(&self) -> &Group {
        &self.0.whole
    }

    /// Calls in flight at all of them, if they are [counted](Self::count_in_flight).
    pub(crate) fn in_flight(&self) -> u32 {
        self.0.load.in_flight.load(Relaxed)
    }

    /// Counts calls in flight at all endpoints together from now on, or no longer.
    pub(crate) fn count_in_flight(&self, counting: bool) {
        self.0.load.counting.store(counting, Relaxed);
    }
}

fn key(info: &EndpointInfo) -> (std::net::SocketAddr, Option<&crate::identity::SpiffeId>) {
    (info.addr, info.identity.as_ref())
}

impl Deref for EndpointSet {
    type Target = [Arc<EndpointState>];

    fn deref(&self) -> &Self::Target {
        &self.0.endpoints
    }
}

impl Default for EndpointSet {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for EndpointSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
