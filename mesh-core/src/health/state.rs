use crate::policy::model::HealthTiming;
use crate::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

const UNKNOWN: u8 = 0;
const HEALTHY: u8 = 1;
const UNHEALTHY: u8 = 2;

/// What the probes of one endpoint have shown. Read by every pick, written by the one task that
/// asks.
#[derive(Debug, Default)]
pub struct HealthState {
    phase: AtomicU8,
    /// Answers in a row against the present phase.
    against: AtomicU32,
}

/// What one probe came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The endpoint said that it is well.
    Passed,
    /// It said that it is not, or did not answer in time.
    Failed,
    /// It announced by itself that it is well: believed at once.
    Serving,
    /// It announced by itself that it is not: believed at once.
    NotServing,
}

/// What a verdict changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The endpoint is in rotation now, as far as checks go.
    Healthy,
    /// It is out of rotation until checks pass again.
    Unhealthy,
}

// === impl HealthState ===

impl HealthState {
    /// Counts a verdict and says what it changed. Not for concurrent use on one state: two racing
    /// calls may count as one.
    pub fn record(&self, verdict: Verdict, timing: &HealthTiming) -> Option<Change> {
        let (well, at_once) = match verdict {
            Verdict::Passed => (true, false),
            Verdict::Failed => (false, false),
            Verdict::Serving => (true, true),
            Verdict::NotServing => (false, true),
        };
        let phase = self.phase.load(Relaxed);
        let next = if well { HEALTHY } else { UNHEALTHY };
        if phase == next {
            self.against.store(0, Relaxed);
            return None;
        }
        let needed = match well {
            _ if at_once || phase == UNKNOWN => 1,
            true => timing.healthy_after(),
            false => timing.unhealthy_after(),
        };
        let against = self.against.load(Relaxed).saturating_add(1);
        if against < needed {
            self.against.store(against, Relaxed);
            return None;
        }
        self.against.store(0, Relaxed);
        self.phase.store(next, Relaxed);
        match (phase, well) {
            // The first answer of one that was in rotation anyway changes nothing.
            (UNKNOWN, true) => None,
            (_, true) => Some(Change::Healthy),
            (_, false) => Some(Change::Unhealthy),
        }
    }

    /// The checks do not speak against it: also while there was none.
    pub fn is_healthy(&self) -> bool {
        self.phase.load(Relaxed) != UNHEALTHY
    }

    /// A probe has had an answer, or none in time.
    pub fn is_known(&self) -> bool {
        self.phase.load(Relaxed) != UNKNOWN
    }

    /// Nobody checks any more: what was found does not hold for ever.
    pub fn forget(&self) {
        self.against.store(0, Relaxed);
        self.phase.store(UNKNOWN, Relaxed);
    }
}
