use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::brake::Peers;
use super::outliers::{self, Finding};
use super::state::{ProbeFailed, Term};
use super::window::Counts;
use super::{EjectReason, EjectionState, Event, Observed, Withheld};
use crate::balance::{EndpointSet, EndpointState};
use crate::clock;
use crate::policy::{EjectionPolicy, LatencyMode};
use crate::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use crate::sync::spin_loop;

/// After an ejection was withheld, the endpoint is not judged again for this long.
const JUDGE_AGAIN_MS: u64 = 100;
/// A withheld ejection is told at most once in this time.
const TELL_AGAIN_MS: u64 = 1000;

/// Finds the endpoints of one backend that fail against their peers.
#[derive(Debug, Default)]
pub struct Detector {
    judging: AtomicBool,
    told: AtomicU64,
    /// When the last interval ended; 0 before the first sweep.
    stamp: AtomicU64,
    /// Of the jitter.
    seed: u64,
    ejections: AtomicU64,
}

/// Thresholds that an endpoint has reached with its last failure.
#[derive(Clone, Copy, Default)]
struct Reached {
    run: Option<u32>,
    gateway: Option<u32>,
    local: Option<u32>,
    rate: bool,
}

// === impl Detector ===

impl Detector {
    /// A detector that has seen nothing. Its jitter differs from that of any other process.
    pub fn new() -> Self {
        Self::with_seed(fastrand::u64(..))
    }

    /// The same, with a jitter that repeats.
    pub fn with_seed(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
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
        self.observe(policy, set, ix, Observed::from(ok), now)
    }

    /// The same, with failures told apart.
    pub fn observe(
        &self,
        policy: &EjectionPolicy,
        set: &EndpointSet,
        ix: usize,
        observed: Observed,
        now: Instant,
    ) -> Option<Event> {
        let endpoint = set.get(ix)?;
        let state = endpoint.ejection();
        if state.is_probing() {
            if observed.is_ok() && !outliers::still_slow(policy, set, ix) {
                endpoint.forget_latency();
                return state.restore(now).then_some(Event::Restored { ix });
            }
            return match state.probe_failed(now) {
                ProbeFailed::Again(again) => Some(Event::ProbeFailed { ix, again }),
                ProbeFailed::TimeIsUp => self.eject(policy, endpoint, ix, EjectReason::Probe, now),
                ProbeFailed::IsBack => None,
            };
        }
        if !state.is_available() {
            // An answer to a call from before the ejection, or one made in panic.
            return None;
        }
        let slot = slot(policy, now);
        let reached = count(policy, state, observed, slot)?;
        let at = clock::millis(now);
        if !reached.any() || at < state.judge_at.load(Relaxed) {
            return None;
        }
        if self.judging.swap(true, Acquire) {
            // Another endpoint is being judged; this one's next failure asks again.
            return None;
        }
        let peers = Peers::of(set, ix, slot);
        let counts = state.window.sum(slot);
        let event = match judge(policy, set.len(), &peers, reached, counts) {
            // Another call's failure was judged since this one was counted.
            _ if !state.is_available() => None,
            Ok(Some(reason)) => self.eject(policy, endpoint, ix, reason, now),
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

    /// Compares the endpoints when an interval is over, and looks at the times that are up. Call it
    /// about once a second; without it the rules of [`Detector::record`] and the probes work.
    pub fn sweep(&self, policy: &EjectionPolicy, set: &EndpointSet, now: Instant) -> Vec<Event> {
        // A50: stamp, the counters of the interval, success rate, failure percentage, and last those
        // whose time is up.
        let mut events = match self.ends_interval(policy, now) {
            true => self.compare(policy, set, now),
            false => Vec::new(),
        };
        let off = is_off(policy);
        let look = |(ix, endpoint): (usize, &Arc<EndpointState>)| {
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
        events.extend(set.iter().enumerate().filter_map(look));
        events
    }

    fn ends_interval(&self, policy: &EjectionPolicy, now: Instant) -> bool {
        let at = clock::millis(now);
        let stamp = self.stamp.load(Relaxed);
        if stamp == 0 {
            self.stamp.store(at, Relaxed);
            return false;
        }
        let over = at >= stamp.saturating_add(clock::duration(policy.interval()).max(1));
        over && self
            .stamp
            .compare_exchange(stamp, at, Relaxed, Relaxed)
            .is_ok()
    }

    fn compare(&self, policy: &EjectionPolicy, set: &EndpointSet, now: Instant) -> Vec<Event> {
        let slot = slot(policy, now);
        let mut events = Vec::new();
        let rules: [&dyn Fn() -> Vec<Finding>; 3] = [
            &|| outliers::by_success_rate(policy, &outliers::hosts(set, slot)),
            &|| outliers::by_failure_percentage(policy, &outliers::hosts(set, slot)),
            &|| outliers::by_latency(policy, set, &outliers::hosts(set, slot)),
        ];
        for rule in rules {
            for finding in rule() {
                match finding {
                    Finding::Slow { ix, factor_milli } => {
                        events.push(Event::Slow { ix, factor_milli });
                    }
                    Finding::Eject { ix, reason } => {
                        events.extend(self.eject_outlier(policy, set, ix, reason, slot, now));
                    }
                }
            }
        }
        events
    }

    fn eject_outlier(
        &self,
        policy: &EjectionPolicy,
        set: &EndpointSet,
        ix: usize,
        reason: EjectReason,
        slot: u64,
        now: Instant,
    ) -> Option<Event> {
        let endpoint = set.get(ix)?;
        // A decision on the call path is over in microseconds; this one comes once an interval.
        while self.judging.swap(true, Acquire) {
            spin_loop();
        }
        let event = match Peers::of(set, ix, slot).allow(policy, set.len()) {
            _ if !endpoint.ejection().is_available() => None,
            Ok(()) => self.eject(policy, endpoint, ix, reason, now),
            Err(why) => self
                .may_tell(clock::millis(now))
                .then_some(Event::Withheld { why }),
        };
        self.judging.store(false, Release);
        event
    }

    fn eject(
        &self,
        policy: &EjectionPolicy,
        endpoint: &EndpointState,
        ix: usize,
        reason: EjectReason,
        now: Instant,
    ) -> Option<Event> {
        let term = Term {
            base: policy.eject_for(),
            longest: policy.max_eject_for(),
            jitter: self.jitter(policy, endpoint.addr()),
            interval: policy.interval(),
        };
        let until = endpoint.ejection().eject(reason, &term, now)?;
        Some(Event::Ejected { ix, reason, until })
    }

    /// Up to `max_eject_jitter`: differs with endpoint, ejection and process, and repeats with the
    /// seed.
    fn jitter(&self, policy: &EjectionPolicy, addr: SocketAddr) -> Duration {
        let number = self.ejections.fetch_add(1, Relaxed);
        let most = policy.max_eject_jitter();
        if most.is_zero() {
            return Duration::ZERO;
        }
        let ip = match addr.ip() {
            std::net::IpAddr::V4(ip) => u64::from(ip.to_bits()),
            std::net::IpAddr::V6(ip) => (ip.to_bits() ^ (ip.to_bits() >> 64)) as u64,
        };
        let seed = self.seed ^ ip << 16 ^ u64::from(addr.port()) ^ number << 48;
        most.mul_f64(fastrand::Rng::with_seed(seed).f64())
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

/// No rule is on.
fn is_off(policy: &EjectionPolicy) -> bool {
    policy.consecutive_errors() == 0
        && policy.consecutive_gateway() == 0
        && !(policy.split_local_origin() && policy.consecutive_local() > 0)
        && policy.failure_percent() == 0
        && !policy.success_rate()
        && policy.failure_percentage_threshold() == 0
        && policy.latency() != LatencyMode::Enforce
}

/// The slot of the window: a tenth of the interval.
fn slot(policy: &EjectionPolicy, now: Instant) -> u64 {
    clock::millis(now) / (clock::duration(policy.interval()) / 10).max(1)
}

/// Counts an outcome; the thresholds reached, if it was a failure.
fn count(
    policy: &EjectionPolicy,
    state: &EjectionState,
    observed: Observed,
    slot: u64,
) -> Option<Reached> {
    let reset = |run: &AtomicU32| {
        if run.load(Relaxed) != 0 {
            run.store(0, Relaxed);
        }
    };
    let more = |run: &AtomicU32, threshold: u32| {
        let run = run.fetch_add(1, Relaxed).saturating_add(1);
        (threshold > 0 && run >= threshold).then_some(run)
    };
    if observed == Observed::Local && policy.split_local_origin() {
        // Apart: no word about what the endpoint answers.
        return Some(Reached {
            local: more(&state.local_run, policy.consecutive_local()),
            ..Reached::default()
        });
    }
    reset(&state.local_run);
    state.window.record(observed.is_ok(), slot);
    if observed.is_ok() {
        reset(&state.run);
        reset(&state.gateway_run);
        return None;
    }
    let gateway = match observed {
        // Merged, a failure to connect counts as 503 and a timeout as 504 (Envoy).
        Observed::Gateway | Observed::Local => {
            more(&state.gateway_run, policy.consecutive_gateway())
        }
        _ => {
            reset(&state.gateway_run);
            None
        }
    };
    let counts = state.window.sum(slot);
    Some(Reached {
        run: more(&state.run, policy.consecutive_errors()),
        gateway,
        local: None,
        rate: policy.failure_percent() > 0
            && counts.calls >= u64::from(policy.minimum_calls())
            && counts.reaches(policy.failure_percent()),
    })
}

/// Whether an endpoint that reached a threshold is to be ejected, and if not, why not. `Ok(None)`
/// is a rate that the peers share: no outlier, and nothing to tell.
fn judge(
    policy: &EjectionPolicy,
    len: usize,
    peers: &Peers,
    reached: Reached,
    counts: Counts,
) -> Result<Option<EjectReason>, Withheld> {
    let stands_out = reached.rate && peers.counts.fails_less_than_half_of(counts);
    let reason = if stands_out {
        EjectReason::Rate {
            percent: counts.percent(),
            calls: u32::try_from(counts.calls).unwrap_or(u32::MAX),
            peers: peers.counts.percent(),
        }
    } else if let Some(errors) = reached.run {
        EjectReason::Consecutive { errors }
    } else if let Some(errors) = reached.gateway {
        EjectReason::Gateway { errors }
    } else if let Some(errors) = reached.local {
        EjectReason::Local { errors }
    } else {
        return match peers.is_service_failing() {
            true => Err(Withheld::ServiceWide),
            false => Ok(None),
        };
    };
    peers.allow(policy, len).map(|()| Some(reason))
}

// === impl Reached ===

impl Reached {
    fn any(self) -> bool {
        self.run.is_some() || self.gateway.is_some() || self.local.is_some() || self.rate
    }
}
