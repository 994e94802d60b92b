use std::sync::PoisonError;
use std::time::Duration;

use super::{Aimd, Gradient2, Sample, Vegas};
use crate::context::Criticality;
use crate::overload::share::{part, share};
use crate::policy::{ConcurrencyAlgorithm, ConcurrencyPolicy};
use crate::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use crate::sync::{Mutex, in_one_order};

/// Least and most calls of a window.
const WINDOW: (u32, u32) = (20, 100);
/// A window is one number, so that time and count are never torn apart: the count above, the sum
/// in units of 100 ns below.
const COUNT_SHIFT: u32 = 48;
const UNIT_NANOS: u128 = 100;

/// A limit on calls in work that follows their latency. Admission is one compare-and-swap.
#[derive(Debug)]
pub struct Limiter {
    limit: AtomicU32,
    in_work: AtomicU32,
    window: AtomicU64,
    peak: AtomicU32,
    dropped: AtomicBool,
    held_back: AtomicBool,
    /// Taken by the call that ends a window, and only if nobody has it.
    algorithm: Mutex<Algorithm>,
}

#[derive(Debug)]
struct Algorithm {
    policy: ConcurrencyPolicy,
    state: State,
}

#[derive(Debug)]
enum State {
    Gradient2(Gradient2),
    Vegas(Vegas),
    Aimd(Aimd),
    Still,
}

fn window_size(limit: u32) -> u32 {
    (limit / 2).clamp(WINDOW.0, WINDOW.1)
}

// === impl Limiter ===

impl Limiter {
    /// A limiter by `policy`.
    pub fn new(policy: &ConcurrencyPolicy) -> Self {
        let algorithm = Algorithm::new(policy);
        Self {
            limit: AtomicU32::new(algorithm.limit()),
            in_work: AtomicU32::new(0),
            window: AtomicU64::new(0),
            peak: AtomicU32::new(0),
            dropped: AtomicBool::new(false),
            held_back: AtomicBool::new(false),
            algorithm: Mutex::new(algorithm),
        }
    }

    /// Applies a changed policy. What is in work stays counted; the limit that was found stays if
    /// the algorithm does, within the new bounds.
    pub fn update(&self, policy: &ConcurrencyPolicy) {
        let mut algorithm = self
            .algorithm
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if algorithm.policy == *policy {
            return;
        }
        if algorithm.policy.algorithm() == policy.algorithm() {
            algorithm.policy = *policy;
        } else {
            *algorithm = Algorithm::new(policy);
        }
        self.limit.store(algorithm.limit(), SeqCst);
    }

    /// The limit now; `u32::MAX` for none.
    pub fn limit(&self) -> u32 {
        self.limit.load(Relaxed)
    }

    /// Calls in work.
    pub fn in_work(&self) -> u32 {
        self.in_work.load(Relaxed)
    }

    /// Takes a place for a call of `level`, if there is one.
    pub fn admit(&self, level: Criticality) -> bool {
        let most = match self.limit.load(Relaxed) {
            u32::MAX => u32::MAX,
            limit => part(limit, share(level)),
        };
        in_one_order();
        self.in_work
            .fetch_update(SeqCst, SeqCst, |n| (n < most).then_some(n + 1))
            .is_ok()
    }

    /// Takes a place whether there is one or not.
    pub fn admit_anyway(&self) {
        self.in_work.fetch_add(1, SeqCst);
    }

    /// Gives a place back.
    pub fn leave(&self) {
        self.in_work.fetch_sub(1, SeqCst);
    }

    /// A call was refused or has to wait.
    pub fn hold_back(&self) {
        if !self.held_back.load(Relaxed) {
            self.held_back.store(true, Relaxed);
        }
    }

    /// A call took `rtt`, its place not given back yet. `dropped` says that overload ended it.
    /// Answers whether the limit rose.
    pub fn record(&self, rtt: Duration, dropped: bool) -> bool {
        let limit = self.limit();
        if limit == u32::MAX {
            return false;
        }
        let in_work = self.in_work();
        if in_work > self.peak.load(Relaxed) {
            self.peak.fetch_max(in_work, Relaxed);
        }
        if dropped {
            self.dropped.store(true, Relaxed);
        }
        // A window of 100 calls of an hour each still fits.
        let units = u64::try_from(rtt.as_nanos() / UNIT_NANOS).unwrap_or(u64::MAX);
        let one = (1 << COUNT_SHIFT) | units.clamp(1, 3_600 * 10_000_000);
        let before = self.window.fetch_add(one, Relaxed);
        let count = (before >> COUNT_SHIFT) as u32 + 1;
        count >= window_size(limit) && self.close(limit)
    }

    fn close(&self, before: u32) -> bool {
        // Who has it closes the window for us.
        let Ok(mut algorithm) = self.algorithm.try_lock() else {
            return false;
        };
        // Somebody may have closed it since we counted.
        if ((self.window.load(Relaxed) >> COUNT_SHIFT) as u32) < window_size(before) {
            return false;
        }
        let window = self.window.swap(0, Relaxed);
        let count = window >> COUNT_SHIFT;
        let units = (window & ((1 << COUNT_SHIFT) - 1)) / count;
        let sample = Sample {
            rtt: Duration::from_nanos(units.saturating_mul(UNIT_NANOS as u64)),
            in_flight: self.peak.swap(0, Relaxed),
            dropped: self.dropped.swap(false, Relaxed),
            held_back: self.held_back.swap(false, Relaxed),
        };
        algorithm.sample(&sample);
        let limit = algorithm.limit();
        self.limit.store(limit, SeqCst);
        limit > before
    }
}

// === impl Algorithm ===

impl Algorithm {
    fn new(policy: &ConcurrencyPolicy) -> Self {
        let state = match policy.algorithm() {
            ConcurrencyAlgorithm::Gradient2 => State::Gradient2(Gradient2::new(policy)),
            ConcurrencyAlgorithm::Vegas => State::Vegas(Vegas::new(policy, fastrand::Rng::new())),
            ConcurrencyAlgorithm::Aimd => State::Aimd(Aimd::new(policy)),
            _ => State::Still,
        };
        Self {
            policy: *policy,
            state,
        }
    }

    fn sample(&mut self, sample: &Sample) {
        match &mut self.state {
            State::Gradient2(state) => {
                state.sample(&self.policy, sample);
            }
            State::Vegas(state) => {
                state.sample(&self.policy, sample);
            }
            State::Aimd(state) => {
                state.sample(&self.policy, sample);
            }
            State::Still => {}
        }
    }

    /// At least 1: a limiter that admits nothing would never see a sample again.
    fn limit(&self) -> u32 {
        let found = match &self.state {
            State::Gradient2(state) => state.limit(),
            State::Vegas(state) => state.limit(),
            State::Aimd(state) => state.limit(),
            State::Still if self.policy.algorithm() == ConcurrencyAlgorithm::Off => {
                return u32::MAX;
            }
            State::Still => return self.policy.initial().max(1),
        };
        let (min, max) = (self.policy.min(), self.policy.max().max(self.policy.min()));
        // Truncated, as Netflix does.
        (found as u32).clamp(min, max).max(1)
    }
}
