use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use super::{EndpointInfo, EndpointState};
use crate::clock;

/// Up to this many endpoints, available ones are counted at each pick.
const COUNT_EACH_TIME: usize = 32;
/// Above it, a count serves all picks of this many milliseconds.
const COUNT_FOR_MS: u64 = 20;
const COUNT_BITS: u32 = 24;

/// The endpoints of a destination at one moment. Immutable; a clone is one counter.
///
/// Dereferences to a slice of states; positions in it are what a pick returns.
#[derive(Clone)]
pub struct EndpointSet(Arc<Inner>);

struct Inner {
    endpoints: Arc<[Arc<EndpointState>]>,
    weights: Weights,
    /// Time and number of the last count of available endpoints.
    counted: AtomicU64,
}

/// What picks need to know about the weights.
#[derive(Debug)]
pub(super) enum Weights {
    /// All the same (also: all zero).
    Equal,
    /// Running sums, and a step that visits `0..total` once each in an even order.
    Sums {
        sums: Box<[u64]>,
        total: u64,
        step: u64,
    },
}

// === impl EndpointSet ===

impl EndpointSet {
    /// A set in which nothing has been observed yet.
    pub fn new(infos: impl IntoIterator<Item = EndpointInfo>) -> Self {
        Self::empty().next(infos)
    }

    /// No endpoints.
    pub fn empty() -> Self {
        Self::from_states(Vec::new())
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
                None => Arc::new(EndpointState::new(info)),
            });
        }
        Self::from_states(states)
    }

    /// The endpoints that have all of `labels`, with their states shared.
    #[must_use]
    pub fn subset(&self, labels: &BTreeMap<String, String>) -> Self {
        let has = |e: &EndpointState| {
            labels
                .iter()
                .all(|(k, v)| e.info().labels.get(k) == Some(v))
        };
        Self::from_states(self.iter().filter(|e| has(e)).cloned().collect())
    }

    fn from_states(states: Vec<Arc<EndpointState>>) -> Self {
        Self(Arc::new(Inner {
            weights: Weights::new(&states),
            endpoints: states.into(),
            counted: AtomicU64::new(0),
        }))
    }

    /// The states, in the order that discovery gave.
    pub fn endpoints(&self) -> &Arc<[Arc<EndpointState>]> {
        &self.0.endpoints
    }

    /// How many are available at `now`. Above 32 endpoints the answer may be 20 ms old.
    pub fn available(&self, now: Instant) -> usize {
        let count = || self.iter().filter(|e| e.is_available(now)).count();
        if self.len() <= COUNT_EACH_TIME {
            return count();
        }
        let at = clock::millis(now);
        let last = self.0.counted.load(Relaxed);
        let (counted_at, number) = (last >> COUNT_BITS, last & ((1 << COUNT_BITS) - 1));
        if at.saturating_sub(counted_at) < COUNT_FOR_MS {
            return number as usize;
        }
        let number = count();
        let packed = at << COUNT_BITS | (number as u64).min((1 << COUNT_BITS) - 1);
        self.0.counted.store(packed, Relaxed);
        number
    }

    /// Whether connections to an endpoint outside of `exclude` succeed, as far as is known.
    pub fn is_reachable_but(&self, exclude: &[usize]) -> bool {
        self.iter().enumerate().any(|(ix, e)| {
            !exclude.contains(&ix) && e.is_reachable() && self.weights().takes(e.info().weight)
        })
    }

    pub(super) fn weights(&self) -> &Weights {
        &self.0.weights
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

// === impl Weights ===

impl Weights {
    fn new(states: &[Arc<EndpointState>]) -> Self {
        let first = states.first().map(|e| e.info().weight);
        if states.iter().all(|e| Some(e.info().weight) == first) {
            return Self::Equal;
        }
        let mut total = 0_u64;
        let sums = states
            .iter()
            .map(|e| {
                total = total.saturating_add(u64::from(e.info().weight));
                total
            })
            .collect();
        Self::Sums {
            sums,
            total,
            step: even_step(total),
        }
    }

    /// Endpoints of this weight take calls.
    pub(super) fn takes(&self, weight: u32) -> bool {
        weight > 0 || matches!(self, Self::Equal)
    }
}

/// A step near the golden section of `total` that has no divisor in common with it: successive
/// multiples visit every value once and lie far apart.
fn even_step(total: u64) -> u64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let golden = ((total as f64 * 0.618) as u64).max(1);
    (golden..).find(|step| gcd(*step, total) == 1).unwrap_or(1)
}
