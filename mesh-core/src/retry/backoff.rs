use std::time::Duration;

use crate::policy::{RetryPolicy, defaults};

/// Jittered pauses before retries (Envoy's formula).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    max: Duration,
}

// === impl Backoff ===

impl Backoff {
    /// Pauses that grow from `base` and stay below `max`.
    pub const fn new(base: Duration, max: Duration) -> Self {
        Self { base, max }
    }

    /// What the pause before retry `n` (from 1) stays below: `min((2^n - 1) x base, max)`.
    pub fn ceiling(&self, n: u32) -> Duration {
        let factor = 1_u32.checked_shl(n).map_or(u32::MAX, |p| p.wrapping_sub(1));
        self.base.saturating_mul(factor).min(self.max)
    }

    /// A pause before retry `n` (from 1), uniform in `[0, ceiling)`.
    pub fn pause(&self, n: u32, rng: &mut fastrand::Rng) -> Duration {
        self.ceiling(n).mul_f64(rng.f64())
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(defaults::BACKOFF_BASE, defaults::BACKOFF_MAX)
    }
}

impl From<&RetryPolicy> for Backoff {
    fn from(policy: &RetryPolicy) -> Self {
        Self::new(policy.backoff(), policy.max_backoff())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_ceiling_doubles_from_25_ms_to_250_ms() {
        let backoff = Backoff::default();
        let ceilings: Vec<_> = (1..=6).map(|n| backoff.ceiling(n).as_millis()).collect();
        assert_eq!(ceilings, [25, 75, 175, 250, 250, 250]);
        assert_eq!(backoff.ceiling(31), 250 * MS);
        assert_eq!(backoff.ceiling(u32::MAX), 250 * MS);
        assert_eq!(backoff.ceiling(0), Duration::ZERO);
    }

    #[test]
    fn pauses_fill_the_whole_range() {
        let backoff = Backoff::default();
        let mut rng = fastrand::Rng::with_seed(1);
        let pauses: Vec<_> = (0..10_000).map(|_| backoff.pause(2, &mut rng)).collect();
        let mean = pauses.iter().sum::<Duration>() / 10_000;
        assert!(pauses.iter().all(|p| *p < 75 * MS));
        assert!(pauses.iter().any(|p| *p < MS) && pauses.iter().any(|p| *p > 74 * MS));
        assert!((mean.as_secs_f64() - 0.0375).abs() < 0.001, "{mean:?}");
    }
}
