use std::time::{Duration, Instant};

use http::Method;

use super::Latencies;
use crate::policy::{BudgetPolicy, HedgePolicy};
use crate::retry::Budget;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Time in which the calls earn hedges (Finagle).
const TTL: Duration = Duration::from_secs(10);
/// "No fixed delay".
const NONE: u64 = u64::MAX;

/// What the hedged calls of one backend share: latencies and budget.
#[derive(Debug)]
pub struct Hedger {
    latencies: Latencies,
    budget: Budget,
    percentile: AtomicU32,
    minimum_us: AtomicU64,
    fixed_us: AtomicU64,
    attempts: AtomicU32,
    any_method: AtomicU32,
}

// === impl Hedger ===

impl Hedger {
    /// By `policy`, with nothing known yet.
    pub fn new(policy: &HedgePolicy) -> Self {
        let hedger = Self {
            latencies: Latencies::new(),
            budget: Budget::new(&budget_of(policy)),
            percentile: AtomicU32::new(0),
            minimum_us: AtomicU64::new(0),
            fixed_us: AtomicU64::new(NONE),
            attempts: AtomicU32::new(0),
            any_method: AtomicU32::new(0),
        };
        hedger.update(policy);
        hedger
    }

    /// Applies a changed policy. Latencies and budget stay.
    pub fn update(&self, policy: &HedgePolicy) {
        self.budget.update(&budget_of(policy));
        self.percentile
            .store(policy.percentile().clamp(1, 99), Relaxed);
        self.minimum_us
            .store(micros(policy.minimum_delay()), Relaxed);
        let fixed = policy.fixed_delay().map_or(NONE, micros);
        self.fixed_us.store(fixed, Relaxed);
        // A6: more than five are treated as five.
        self.attempts
            .store(policy.max_attempts().clamp(1, 5), Relaxed);
        self.any_method
            .store(u32::from(policy.idempotent()), Relaxed);
    }

    /// Whether calls with `method` may be repeated.
    pub fn allows(&self, method: &Method) -> bool {
        method.is_idempotent() || self.any_method.load(Relaxed) != 0
    }

    /// Attempts of one call, the first included.
    pub fn attempts(&self) -> u32 {
        self.attempts.load(Relaxed)
    }

    /// Counts a call that may be hedged, which earns its part of a hedge, and says how long to wait
    /// for its first attempt; `None` while no delay is known.
    pub fn begin(&self, now: Instant) -> Option<Duration> {
        self.budget.deposit(now);
        match self.fixed_us.load(Relaxed) {
            NONE => {
                let usual = self
                    .latencies
                    .percentile(self.percentile.load(Relaxed), now)?;
                Some(usual.max(Duration::from_micros(self.minimum_us.load(Relaxed))))
            }
            fixed => Some(Duration::from_micros(fixed)),
        }
    }

    /// Pays for a hedge; `false` when the budget is empty.
    pub fn withdraw(&self, now: Instant) -> bool {
        self.budget.withdraw(now)
    }

    /// Gives a hedge back that was not made after all.
    pub fn refund(&self, now: Instant) {
        self.budget.refund(now);
    }

    /// An attempt was answered, well or not, after `took`.
    pub fn observe(&self, took: Duration) {
        self.latencies.record(took);
    }

    /// Hedges that the budget would pay for now.
    pub fn balance(&self, now: Instant) -> u64 {
        self.budget.balance(now)
    }
}

fn budget_of(policy: &HedgePolicy) -> BudgetPolicy {
    BudgetPolicy::default()
        .with_percent(policy.max_extra_percent())
        .with_interval(TTL)
        .with_min_per_second(0)
}

fn micros(duration: Duration) -> u64 {
    // Half of what fits, so that it is never taken for "none".
    u64::try_from(duration.as_micros())
        .unwrap_or(NONE / 2)
        .min(NONE / 2)
}
