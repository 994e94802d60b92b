use super::Sample;
use crate::policy::ConcurrencyPolicy;

/// Additive increase, multiplicative decrease: one more when at least half is used, `backoff` of it
/// after a drop or a call slower than `slow_after`.
#[derive(Clone, Debug)]
pub struct Aimd {
    limit: f64,
}

// === impl Aimd ===

impl Aimd {
    /// Begins at the policy's initial limit.
    pub fn new(policy: &ConcurrencyPolicy) -> Self {
        Self {
            limit: f64::from(policy.initial()),
        }
    }

    /// The limit.
    pub fn limit(&self) -> f64 {
        self.limit
    }

    /// Takes a sample in and answers the limit.
    pub fn sample(&mut self, policy: &ConcurrencyPolicy, sample: &Sample) -> f64 {
        if sample.dropped || sample.rtt > policy.slow_after() {
            self.limit = (self.limit * f64::from(policy.backoff_milli()) / 1000.0).floor();
        } else if f64::from(sample.in_flight) * 2.0 >= self.limit {
            self.limit += 1.0;
        }
        let (min, max) = (
            f64::from(policy.min()),
            f64::from(policy.max().max(policy.min())),
        );
        self.limit = self.limit.clamp(min, max);
        self.limit
    }
}
