use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::EjectReason;
use super::window::Window;
use crate::balance::Availability;
use crate::clock;
use crate::report::EndpointHealth;

/// How long a probe may take before another call may probe: its caller may have gone away.
const PROBE_MS: u64 = 5000;
/// Least share of an endpoint that warms up.
const LEAST_WARMUP: f32 = 0.1;

const AVAILABLE: u8 = 0;
const EJECTED: u8 = 1;
const PROBING: u8 = 2;

/// Where one endpoint stands: in rotation, ejected, or being probed.
#[derive(Debug, Default)]
pub struct EjectionState {
    pub(super) window: Window,
    /// Failures since the last success.
    pub(super) run: AtomicU32,
    phase: AtomicU8,
    /// When a call may try the endpoint, while it is not in rotation.
    until: AtomicU64,
    /// Ejections in a row.
    times: AtomicU32,
    /// When it came back; 0 if it was never out.
    restored: AtomicU64,
    reason: AtomicU64,
    announced: AtomicBool,
    /// Not judged again before this time, after an ejection was withheld.
    pub(super) judge_at: AtomicU64,
}

// === impl EjectionState ===

impl EjectionState {
    pub(crate) fn availability(&self, now: Instant) -> Availability {
        if self.phase.load(Relaxed) == AVAILABLE {
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
                .compare_exchange(EJECTED, PROBING, Relaxed, Relaxed);
        }
        won
    }

    /// In rotation.
    pub fn is_available(&self) -> bool {
        self.phase.load(Relaxed) == AVAILABLE
    }

    pub(super) fn is_probing(&self) -> bool {
        self.phase.load(Relaxed) == PROBING
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

    /// When the next probe is due; `None` while it is in rotation.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        (!self.is_available()).then(|| clock::instant(self.until.load(Relaxed), now))
    }

    /// 0.1 to 1: how much of its share it takes `window` after it came back.
    pub(crate) fn warmup(&self, window: Duration, now: Instant) -> f32 {
        let restored = self.restored.load(Relaxed);
        let window = clock::duration(window);
        if restored == 0 || window == 0 {
            return 1.0;
        }
        let elapsed = clock::millis(now).saturating_sub(restored);
        if elapsed >= window {
            return 1.0;
        }
        (elapsed as f32 / window as f32).max(LEAST_WARMUP)
    }

    /// Takes it out for `base` times the ejections in a row, at most `longest`. `interval` of
    /// health takes one off these.
    pub(super) fn eject(
        &self,
        reason: EjectReason,
        base: Duration,
        longest: Duration,
        interval: Duration,
        now: Instant,
    ) -> Instant {
        let at = clock::millis(now);
        let mut times = self.times.load(Relaxed);
        if self.is_available() {
            let healthy = at.saturating_sub(self.restored.load(Relaxed));
            let decayed = healthy / clock::duration(interval).max(1);
            times = times.saturating_sub(u32::try_from(decayed).unwrap_or(u32::MAX));
        }
        times = times.saturating_add(1);
        let time = base.saturating_mul(times).min(longest.max(base));
        self.times.store(times, Relaxed);
        self.reason.store(reason.pack(), Relaxed);
        self.until
            .store(at.saturating_add(clock::duration(time)), Relaxed);
        self.announced.store(false, Relaxed);
        self.run.store(0, Relaxed);
        self.window.clear();
        self.phase.store(EJECTED, Relaxed);
        now.checked_add(time).unwrap_or(now)
    }

    /// Brings it back; `true` for the one caller that did.
    pub(super) fn restore(&self, now: Instant) -> bool {
        // Before the phase, so that no pick sees it in rotation and not warming up.
        self.restored.store(clock::millis(now), Relaxed);
        self.run.store(0, Relaxed);
        self.window.clear();
        self.phase.swap(AVAILABLE, Relaxed) != AVAILABLE
    }

    /// Whether its time is up and that was not told yet.
    pub(super) fn announce(&self, now: Instant) -> bool {
        let due = self.is_probing() || self.availability(now) == Availability::Due;
        due && !self.announced.swap(true, Relaxed)
    }
}
