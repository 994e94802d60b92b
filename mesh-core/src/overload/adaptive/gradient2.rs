use super::Sample;
use crate::policy::ConcurrencyPolicy;

/// Calls of the usual latency that are simply averaged at the beginning (Netflix's warm-up).
const WARM_UP: u32 = 10;
/// Weight of a sample in the recent latency.
const RECENT: f64 = 1.0 / 3.0;
/// Growth in slow start.
const START: f64 = 1.5;
/// Up to which multiple of the usual latency there is no sign of a queue, and the growth then.
const CLEAR: f64 = 1.2;
const STRIDE: f64 = 1.05;

/// The default: the limit follows the ratio of the usual latency to that of now.
///
/// ```text
/// gradient = clamp(tolerance x usual / now, 0.5, 1)
/// limit    = limit x (1 - smoothing) + (limit x gradient + queue) x smoothing
/// ```
///
/// Without a sign of a queue the limit grows by a twentieth instead, if that is more.
/// No change while fewer than half of the limit are in work. The usual latency is an exponential
/// mean over `long_window` samples; while it is above twice that of now it also shrinks by 5 % a
/// sample, so that it comes down after a bad time.
#[derive(Clone, Debug)]
pub struct Gradient2 {
    limit: f64,
    /// The usual latency in seconds, and how many samples went into it.
    long: f64,
    samples: u32,
    /// The mean of the last five samples or so.
    recent: f64,
    starting: bool,
    strides: bool,
}

// === impl Gradient2 ===

impl Gradient2 {
    /// Begins at the policy's initial limit, in slow start.
    pub fn new(policy: &ConcurrencyPolicy) -> Self {
        Self {
            limit: f64::from(policy.initial()),
            long: 0.0,
            samples: 0,
            recent: 0.0,
            starting: true,
            strides: true,
        }
    }

    /// Without slow start and strides: Netflix's formula alone.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.starting = false;
        self.strides = false;
        self
    }

    /// The limit.
    pub fn limit(&self) -> f64 {
        self.limit
    }

    /// The usual latency in seconds; 0 before the first sample.
    pub fn usual(&self) -> f64 {
        self.long
    }

    /// Takes a sample in and answers the limit.
    pub fn sample(&mut self, policy: &ConcurrencyPolicy, sample: &Sample) -> f64 {
        let (min, max) = (
            f64::from(policy.min()),
            f64::from(policy.max().max(policy.min())),
        );
        self.limit = self.limit.clamp(min, max);
        let now = sample.seconds();
        self.remember(policy, now, sample, min);
        if f64::from(sample.in_flight) < self.limit / 2.0 {
            self.starting = false;
            return self.limit;
        }
        let tolerance = f64::from(policy.tolerance_milli()) / 1000.0;
        let gradient = (tolerance * self.long / now).clamp(0.5, 1.0);
        self.starting &= gradient >= 1.0 && !sample.dropped;
        let smoothing = f64::from(policy.smoothing_milli()) / 1000.0;
        let next = self.limit * gradient + f64::from(policy.queue());
        let mut next = self.limit * (1.0 - smoothing) + next * smoothing;
        if self.starting {
            next = self.limit * START;
        } else if self.strides && gradient >= 1.0 && self.recent <= CLEAR * self.long {
            next = next.max(self.limit * STRIDE);
        }
        self.limit = next.clamp(min, max);
        self.limit
    }

    /// While we hold calls back and could hold back more, a rise may be of our own making.
    fn remember(&mut self, policy: &ConcurrencyPolicy, now: f64, sample: &Sample, min: f64) {
        self.recent += (now - self.recent) * if self.samples == 0 { 1.0 } else { RECENT };
        let own = sample.held_back && self.limit > min;
        if self.samples < WARM_UP && (self.starting || !own) {
            self.samples += 1;
            self.long += (now - self.long) / f64::from(self.samples);
        } else if !own {
            let factor = 2.0 / (f64::from(policy.long_window()) + 1.0);
            self.long = self.long * (1.0 - factor) + now * factor;
        }
        // One window may be low by chance. Of samples that cannot correct it again, the mean counts.
        let now = if own { self.recent } else { now };
        if self.long / now > 2.0 {
            self.long *= 0.95;
        }
    }
}
