use std::time::{Duration, Instant};

use super::EjectReason;
use super::window::Window;
use crate::balance::Availability;
use crate::clock;
use crate::quantile::{P50, P95, Quantile};
use crate::report::EndpointHealth;
use crate::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// How long a probe may take before another call may probe: its caller may have gone away.
const PROBE_MS: u64 = 5000;
/// Probes during an ejection, the one at its end included: so an endpoint that is well again returns
/// within a quarter of the time.
const PROBES: u64 = 4;
/// But not more often than this.
const LEAST_BETWEEN_PROBES_MS: u64 = 1000;

const AVAILABLE: u8 = 0;
const EJECTED: u8 = 1;
const PROBING: u8 = 2;

/// Where one endpoint stands: in rotation, ejected, or being probed.
#[derive(Debug, Default)]
pub struct EjectionState {
    pub(super) window: Window,
    /// Failures since the last success.
    pub(super) run: AtomicU32,
    /// Gateway errors since the last answer that was none.
    pub(super) gateway_run: AtomicU32,
    /// Failures to connect, resets and timeouts since the last answer.
    pub(super) local_run: AtomicU32,
    /// What 95 % of its good answers do not exceed.
    tail: Quantile,
    /// What half of them do not exceed.
    median: Quantile,
    /// Intervals in a row in which it was slow against its peers.
    pub(super) slow_intervals: AtomicU32,
    /// By how many thousandths, while it is; 0 otherwise.
    pub(super) slow_milli: AtomicU32,
    /// It is out for its latency: a probe shows that it is well only by being quick.
    slow: AtomicBool,
    phase: AtomicU8,
    /// When a call may try the endpoint, while it is not in rotation.
    until: AtomicU64,
    /// When its time is up: a probe that fails before does not prolong it.
    ends: AtomicU64,
    /// Time between probes, in milliseconds.
    every: AtomicU64,
    /// Ejections in a row.
    times: AtomicU32,
    /// When it came back; 0 if it was never out.
    restored: AtomicU64,
    reason: AtomicU64,
    announced: AtomicBool,
    /// Not judged again before this time, after an ejection was withheld.
    pub(super) judge_at: AtomicU64,
}

/// For how long an endpoint is ejected.
pub(super) struct Term {
    /// Times the number of ejections in a row,
    pub(super) base: Duration,
    /// at most this,
    pub(super) longest: Duration,
    /// and this on top.
    pub(super) jitter: Duration,
    /// An interval of health takes one off the ejections in a row.
    pub(super) interval: Duration,
}

/// What the failure of a probe comes to.
pub(super) enum ProbeFailed {
    /// The next probe is due then.
    Again(Instant),
    /// The endpoint is to be ejected again.
    TimeIsUp,
    /// Nothing: it is back in rotation, or another probe has failed, since.
    IsBack,
}

// === impl EjectionState ===

impl EjectionState {
    pub(crate) fn availability(&self, now: Instant) -> Availability {
        // Who sees a phase sees what was stored before it: when a probe is due, since when it is back.
        if self.phase.load(Acquire) == AVAILABLE {
            Availability::Ready
        } else if self.until.load(Relaxed) <= clock::millis(now) {
            Availability::Due
        } else {
            Availability::Down
        }
    }

    /// Takes the probe call that is due; one caller wins.
    pub(crate) fn claim(&self, now: Instant) -> bool {
        let now = clock::millis(now);
        let due = self.until.load(Relaxed);
        if due > now || self.phase.load(Relaxed) == AVAILABLE {
            return false;
        }
        let won = self
            .until
            .compare_exchange(due, now.saturating_add(PROBE_MS), Relaxed, Relaxed)
            .is_ok();
        // Only from EJECTED: an endpoint restored in between stays restored.
        if won {
            let _ = self
                .phase
                .compare_exchange(EJECTED, PROBING, AcqRel, Relaxed);
        }
        won
    }

    /// In rotation.
    pub fn is_available(&self) -> bool {
        self.phase.load(Acquire) == AVAILABLE
    }

    pub(super) fn is_probing(&self) -> bool {
        self.phase.load(Acquire) == PROBING
    }

    /// What to report.
    pub fn health(&self) -> EndpointHealth {
        match self.phase.load(Relaxed) {
            EJECTED => EndpointHealth::Ejected,
            PROBING => EndpointHealth::Probing,
            _ => EndpointHealth::Available,
        }
    }

    /// Why it is out of rotation; `None` while it is in.
    pub fn reason(&self) -> Option<EjectReason> {
        if self.is_available() {
            return None;
        }
        EjectReason::unpack(self.reason.load(Relaxed))
    }

    /// How long a good answer takes in 95 of 100 cases; `None` before the first.
    pub fn tail(&self) -> Option<Duration> {
        self.tail.read()
    }

    /// How long a good answer takes as a rule; `None` before the first.
    pub fn median(&self) -> Option<Duration> {
        self.median.read()
    }

    /// Counts a good answer's latency.
    pub(crate) fn answered(&self, took: Duration) {
        self.tail.sample(took, P95);
        self.median.sample(took, P50);
    }

    /// How many thousandths of its peers' latency its own is, while that makes it an outlier.
    pub fn slow_milli(&self) -> Option<u32> {
        Some(self.slow_milli.load(Relaxed)).filter(|milli| *milli > 0)
    }

    /// Whether it was ejected for its latency, and not for anything else since.
    pub(super) fn was_slow(&self) -> bool {
        self.slow.load(Relaxed)
    }

    /// When the next probe is due; `None` while it is in rotation.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        (!self.is_available()).then(|| clock::instant(self.until.load(Relaxed), now))
    }

    /// For how long it has been back; `None` if it was never out.
    pub(crate) fn restored_for(&self, now: Instant) -> Option<Duration> {
        match self.restored.load(Relaxed) {
            0 => None,
            at => Some(Duration::from_millis(clock::millis(now).saturating_sub(at))),
        }
    }

    /// Takes it out for as long as `term` says; `None` if it is no more what `reason` supposes,
    /// which is probed for the end of a probe and else in rotation.
    pub(super) fn eject(&self, reason: EjectReason, term: &Term, now: Instant) -> Option<Instant> {
        let at = clock::millis(now);
        let mut times = self.times.load(Relaxed);
        let from = match reason {
            EjectReason::Probe => PROBING,
            _ => AVAILABLE,
        };
        if from == AVAILABLE {
            let healthy = at.saturating_sub(self.restored.load(Relaxed));
            let decayed = healthy / clock::duration(term.interval).max(1);
            times = times.saturating_sub(u32::try_from(decayed).unwrap_or(u32::MAX));
        }
        times = times.saturating_add(1);
        let time = term
            .base
            .saturating_mul(times)
            .min(term.longest.max(term.base));
        let time = time.saturating_add(term.jitter);
        let millis = clock::duration(time);
        let every = (millis / PROBES).max(LEAST_BETWEEN_PROBES_MS);
        self.reason.store(reason.pack(), Relaxed);
        self.ends.store(at.saturating_add(millis), Relaxed);
        self.every.store(every, Relaxed);
        self.until
            .store(at.saturating_add(every.min(millis)), Relaxed);
        self.announced.store(false, Relaxed);
        match reason {
            EjectReason::Latency { .. } => self.slow.store(true, Relaxed),
            // What was wrong before the probe still is.
            EjectReason::Probe => {}
            _ => self.slow.store(false, Relaxed),
        }
        self.forget();
        // Only from there: one that came back in between is not taken out again without a look at
        // the cap and the floor.
        self.phase
            .compare_exchange(from, EJECTED, AcqRel, Relaxed)
            .ok()?;
        self.times.store(times, Relaxed);
        Some(now.checked_add(time).unwrap_or(now))
    }

    /// The probe failed. Before its time is up that changes nothing but when the next one is due,
    /// which is the answer; after it the endpoint is to be ejected again.
    pub(super) fn probe_failed(&self, now: Instant) -> ProbeFailed {
        let at = clock::millis(now);
        let ends = self.ends.load(Relaxed);
        if at >= ends {
            return ProbeFailed::TimeIsUp;
        }
        let next = at.saturating_add(self.every.load(Relaxed)).min(ends);
        self.until.store(next, Relaxed);
        self.announced.store(false, Relaxed);
        // The next one is judged by itself.
        self.tail.reset();
        let failed = self
            .phase
            .compare_exchange(PROBING, EJECTED, AcqRel, Relaxed);
        match failed {
            Ok(_) => ProbeFailed::Again(clock::instant(next, now)),
            Err(_) => ProbeFailed::IsBack,
        }
    }

    fn forget(&self) {
        for run in [&self.run, &self.gateway_run, &self.local_run] {
            run.store(0, Relaxed);
        }
        self.slow_intervals.store(0, Relaxed);
        self.slow_milli.store(0, Relaxed);
        self.tail.reset();
        self.window.clear();
    }

    /// Brings it back, with slow start: a probe call succeeded, or an active health check (Envoy's
    /// `successful_active_health_check_uneject_host`). `true` for the one caller that did; of an
    /// endpoint that is in rotation nothing changes.
    pub fn restore(&self, now: Instant) -> bool {
        if self.is_available() {
            return false;
        }
        // Before the phase, so that no pick sees it in rotation and not warming up.
        self.restored.store(clock::millis(now), Relaxed);
        self.forget();
        self.phase.swap(AVAILABLE, Release) != AVAILABLE
    }

    /// It returns for another reason than an ejection's end: its share grows from now on.
    pub(crate) fn warm_up(&self, now: Instant) {
        self.warm(now);
        self.forget();
    }

    /// Its share grows from now on; what its calls came to counts on.
    pub(crate) fn warm(&self, now: Instant) {
        self.restored.store(clock::millis(now), Relaxed);
    }

    /// Whether its time is up and that was not told yet.
    pub(super) fn announce(&self, now: Instant) -> bool {
        let due = self.is_probing() || self.availability(now) == Availability::Due;
        due && !self.announced.swap(true, Relaxed)
    }
}
