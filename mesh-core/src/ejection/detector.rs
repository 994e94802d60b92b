use std::sync::atomic::{
    AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use std::time::{Duration, Instant};

use super::window::Counts;
use super::{EjectReason, EjectionState, Event, Withheld};
use crate::balance::EndpointSet;
use crate::clock;
use crate::policy::EjectionPolicy;

/// After an ejection was withheld, the endpoint is not judged again for this long.
const JUDGE_AGAIN_MS: u64 = 100;
/// A withheld ejection is told at most once in this time.
const TELL_AGAIN_MS: u64 = 1000;
/// A peer with this many failures in a row is failing now, whatever its window holds.
const FAILING_RUN: u32 = 2;
/// Fewer calls of all peers together say nothing about the service.
const LEAST_PEER_CALLS: u64 = 5;

/// Finds the endpoints of one backend that fail against their peers.
#[derive(Debug, Default)]
pub struct Detector {
    judging: AtomicBool,
    told: AtomicU64,
}

/// What is known about the others when one is to be ejected.
#[derive(Default)]
struct Peers {
    /// In rotation and reachable.
    available: usize,
    ejected: usize,
    /// In rotation, with calls in the interval.
    active: usize,
    /// Of these, failing now.
    failing: usize,
    counts: Counts,
}

// === impl Detector ===

impl Detector {
    /// A detector that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts the outcome of a call at position `ix` and says what that changed. `ok` is false for
    /// failures of the endpoint ([`Class::is_endpoint_failure`](crate::classify::Class)).
    pub fn record(
        &self,
        policy: &EjectionPolicy,
        set: &EndpointSet,
        ix: usize,
        ok: bool,
        now: Instant,
    ) -> Option<Event> {
        let endpoint = set.get(ix)?;
        let state = endpoint.ejection();
        if state.is_probing() {
            if ok {
                endpoint.forget_latency();
                return state.restore(now).then_some(Event::Restored { ix });
            }
            return Some(eject(policy, state, ix, EjectReason::Probe, now));
        }
        if !state.is_available() {
            // An answer to a call from before the ejection, or one made in panic.
            return None;
        }
        let slot = slot(policy, now);
        state.window.record(ok, slot);
        if ok {
            if state.run.load(Relaxed) != 0 {
                state.run.store(0, Relaxed);
            }
            return None;
        }
        let run = state.run.fetch_add(1, Relaxed).saturating_add(1);
        let by_run = policy.consecutive_errors() > 0 && run >= policy.consecutive_errors();
        let counts = state.window.sum(slot);
        let by_rate = policy.failure_percent() > 0
            && counts.calls >= u64::from(policy.minimum_calls())
            && counts.reaches(policy.failure_percent());
        let at = clock::millis(now);
        if !(by_run || by_rate) || at < state.judge_at.load(Relaxed) {
            return None;
        }
        if self.judging.swap(true, Acquire) {
            // Another endpoint is being judged; this one's next failure asks again.
            return None;
        }
        let peers = Peers::of(set, ix, slot);
        let verdict = judge(
            policy,
            set.len(),
            &peers,
            by_run.then_some(run),
            by_rate,
            counts,
        );
        let event = match verdict {
            Ok(Some(reason)) => Some(eject(policy, state, ix, reason, now)),
            Ok(None) => {
                state.judge_at.store(at + JUDGE_AGAIN_MS, Relaxed);
                None
            }
            Err(why) => {
                state.judge_at.store(at + JUDGE_AGAIN_MS, Relaxed);
                self.may_tell(at).then_some(Event::Withheld { why })
            }
        };
        self.judging.store(false, Release);
        event
    }

    /// Looks at the times that are up. Call it about once a second; without it everything works,
    /// only [`Event::Probing`] is not told.
    pub fn sweep(&self, policy: &EjectionPolicy, set: &EndpointSet, now: Instant) -> Vec<Event> {
        let off = policy.consecutive_errors() == 0 && policy.failure_percent() == 0;
        let look = |(ix, endpoint): (usize, &std::sync::Arc<crate::balance::EndpointState>)| {
            let state = endpoint.ejection();
            if state.is_available() {
                None
            } else if off {
                // Ejection was turned off: nobody stays out.
                state.restore(now).then_some(Event::Restored { ix })
            } else {
                state.announce(now).then_some(Event::Probing { ix })
            }
        };
        set.iter().enumerate().filter_map(look).collect()
    }

    fn may_tell(&self, at: u64) -> bool {
        let told = self.told.load(Relaxed);
        at >= told.saturating_add(TELL_AGAIN_MS)
            && self
                .told
                .compare_exchange(told, at, Relaxed, Relaxed)
                .is_ok()
    }
}

/// The slot of the window: a tenth of the interval.
fn slot(policy: &EjectionPolicy, now: Instant) -> u64 {
    clock::millis(now) / (clock::duration(policy.interval()) / 10).max(1)
}

/// Whether an endpoint that reached a threshold is to be ejected, and if not, why not. `Ok(None)`
/// is a rate that the peers share: no outlier, and nothing to tell.
fn judge(
    policy: &EjectionPolicy,
    len: usize,
    peers: &Peers,
    run: Option<u32>,
    by_rate: bool,
    counts: Counts,
) -> Result<Option<EjectReason>, Withheld> {
    let stands_out = by_rate && peers.counts.fails_less_than_half_of(counts);
    let reason = if stands_out {
        EjectReason::Rate {
            percent: counts.percent(),
            calls: u32::try_from(counts.calls).unwrap_or(u32::MAX),
            peers: peers.counts.percent(),
        }
    } else if let Some(errors) = run {
        EjectReason::Consecutive { errors }
    } else {
        return match peers.is_service_failing() {
            true => Err(Withheld::ServiceWide),
            false => Ok(None),
        };
    };
    if peers.available == 0 {
        return Err(Withheld::LastAvailable);
    }
    if peers.is_service_failing() {
        return Err(Withheld::ServiceWide);
    }
    let percent = policy.max_ejected_percent().min(100) as usize;
    if (peers.ejected + 1) * 100 > len * percent {
        return Err(Withheld::Cap);
    }
    Ok(Some(reason))
}

fn eject(
    policy: &EjectionPolicy,
    state: &EjectionState,
    ix: usize,
    reason: EjectReason,
    now: Instant,
) -> Event {
    let longest: Duration = policy.max_eject_for();
    let until = state.eject(reason, policy.eject_for(), longest, policy.interval(), now);
    Event::Ejected { ix, reason, until }
}

// === impl Peers ===

impl Peers {
    fn of(set: &EndpointSet, ix: usize, slot: u64) -> Self {
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
            if counts.calls > 0 {
                peers.active += 1;
                peers.failing += usize::from(state.run.load(Relaxed) >= FAILING_RUN);
                peers.counts.add(counts);
            }
        }
        peers
    }

    /// Most of the peers that take calls are failing now, or most of their calls failed.
    fn is_service_failing(&self) -> bool {
        let most_now = self.failing * 2 > self.active;
        let most_calls = self.counts.calls >= LEAST_PEER_CALLS && self.counts.reaches(51);
        most_now || most_calls
    }
}
