use super::Sample;
use crate::policy::ConcurrencyPolicy;

/// How many limits' worth of samples pass before the least latency is measured anew.
const PROBE_AFTER: f64 = 30.0;

/// TCP Vegas: the limit is kept where a few calls queue.
///
/// ```text
/// queue = ceil(limit x (1 - least / now))      alpha = 3 log10(limit), beta = 6 log10(limit)
/// drop or queue > beta -> - log10(limit)       queue <= log10(limit) -> + beta
/// queue < alpha        -> + log10(limit)       else unchanged
/// ```
///
/// After 30 x limit samples, jittered, the least latency is that of now; not while calls are held
/// back, when that would be a latency of our own making, unless the limit is at its minimum.
#[derive(Clone, Debug)]
pub struct Vegas {
    limit: f64,
    least: f64,
    samples: f64,
    jitter: f64,
    rng: fastrand::Rng,
}

// === impl Vegas ===

impl Vegas {
    /// Begins at the policy's initial limit. `rng` jitters the probes.
    pub fn new(policy: &ConcurrencyPolicy, mut rng: fastrand::Rng) -> Self {
        Self {
            limit: f64::from(policy.initial()),
            least: 0.0,
            samples: 0.0,
            jitter: rng.f64().mul_add(0.5, 0.5),
            rng,
        }
    }

    /// The limit.
    pub fn limit(&self) -> f64 {
        self.limit
    }

    /// The least latency in seconds; 0 before the first sample.
    pub fn least(&self) -> f64 {
        self.least
    }

    /// Takes a sample in and answers the limit.
    pub fn sample(&mut self, policy: &ConcurrencyPolicy, sample: &Sample) -> f64 {
        let (min, max) = (
            f64::from(policy.min()),
            f64::from(policy.max().max(policy.min())),
        );
        self.limit = self.limit.clamp(min, max);
        let now = sample.seconds();
        self.samples += 1.0;
        let own = sample.held_back && self.limit > min;
        if !own && self.samples >= self.jitter * PROBE_AFTER * self.limit {
            self.samples = 0.0;
            self.jitter = self.rng.f64().mul_add(0.5, 0.5);
            self.least = now;
            return self.limit;
        }
        if self.least == 0.0 || now < self.least {
            self.least = now;
            return self.limit;
        }
        let step = self.limit.log10().floor().max(1.0);
        let queue = (self.limit * (1.0 - self.least / now)).ceil();
        let (alpha, beta) = (3.0 * step, 6.0 * step);
        let next = if sample.dropped {
            self.limit - step
        } else if f64::from(sample.in_flight) * 2.0 < self.limit {
            return self.limit;
        } else if queue <= step {
            self.limit + beta
        } else if queue < alpha {
            self.limit + step
        } else if queue > beta {
            self.limit - step
        } else {
            return self.limit;
        };
        self.limit = next.clamp(min, max);
        self.limit
    }
}
