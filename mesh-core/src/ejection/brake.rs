//! What keeps an ejection from being made: the cap, the floor and the correlated brake.

use super::Withheld;
use super::window::Counts;
use crate::balance::EndpointSet;
use crate::policy::EjectionPolicy;
use crate::sync::atomic::Ordering::Relaxed;

/// A peer with this many failures in a row is failing now, whatever its window holds.
const FAILING_RUN: u32 = 2;
/// Fewer calls of all peers together say nothing about the service.
const LEAST_PEER_CALLS: u64 = 5;

/// What is known about the others when one is to be ejected.
#[derive(Default)]
pub(super) struct Peers {
    /// In rotation and reachable.
    available: usize,
    ejected: usize,
    /// In rotation, with calls in the interval.
    active: usize,
    /// Of these, failing now.
    failing: usize,
    pub(super) counts: Counts,
}

// === impl Peers ===

impl Peers {
    pub(super) fn of(set: &EndpointSet, ix: usize, slot: u64) -> Self {
        let mut peers = Self::default();
        for (_, endpoint) in set.iter().enumerate().filter(|(at, _)| *at != ix) {
            let state = endpoint.ejection();
            if !state.is_available() {
                peers.ejected += 1;
                continue;
            }
            if !endpoint.is_reachable() {
                continue;
            }
            peers.available += 1;
            let counts = state.window.sum(slot);
            let local = state.local_run.load(Relaxed);
            if counts.calls > 0 || local > 0 {
                peers.active += 1;
                let run = state.run.load(Relaxed).max(local);
                peers.failing += usize::from(run >= FAILING_RUN);
                peers.counts.add(counts);
            }
        }
        peers
    }

    /// Most of the peers that take calls are failing now, or most of their calls failed.
    pub(super) fn is_service_failing(&self) -> bool {
        let most_now = self.failing * 2 > self.active;
        let most_calls = self.counts.calls >= LEAST_PEER_CALLS && self.counts.reaches(51);
        most_now || most_calls
    }

    /// Whether one more of `len` endpoints may be out.
    pub(super) fn allow(&self, policy: &EjectionPolicy, len: usize) -> Result<(), Withheld> {
        if self.available == 0 {
            return Err(Withheld::LastAvailable);
        }
        if self.is_service_failing() {
            return Err(Withheld::ServiceWide);
        }
        let percent = policy.max_ejected_percent().min(100) as usize;
        if (self.ejected + 1) * 100 > len * percent {
            return Err(Withheld::Cap);
        }
        Ok(())
    }
}
