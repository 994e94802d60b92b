use std::time::Duration;

use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// One quantile of a stream of durations in four bytes: it steps up by a small factor at a sample
/// above it and down at one below, so that it settles where the steps balance ("frugal streaming",
/// Ma, Muthukrishnan and Sandler 2014, in logarithmic steps).
///
/// One load and one store a sample. Two threads at once may lose a step, which is one of thousands.
#[derive(Debug, Default)]
pub(crate) struct Quantile {
    /// Microseconds as `f32`; 0 before the first sample.
    value: AtomicU32,
}

/// Which quantile, as the factors of its steps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps {
    up: f32,
    down: f32,
}

/// The median: equal steps of 5 %.
pub(crate) const P50: Steps = Steps {
    up: 1.05,
    down: 1.0 / 1.05,
};

/// The 95th percentile: a step up is worth 19 down. From a sudden tenfold latency on it takes 26
/// slow calls to arrive, and some 500 calls to come back.
pub(crate) const P95: Steps = Steps {
    up: 1.095,
    down: 0.995_23,
};

// === impl Quantile ===

impl Quantile {
    pub(crate) fn sample(&self, value: Duration, steps: Steps) {
        // Not quite zero: zero is "nothing yet", and no factor leads away from it.
        let micros = (value.as_secs_f32() * 1e6).max(0.1);
        let before = f32::from_bits(self.value.load(Relaxed));
        let next = if before <= 0.0 {
            micros
        } else if micros > before {
            // Not beyond the sample: a stream of one value is that value.
            (before * steps.up).min(micros)
        } else {
            (before * steps.down).max(micros)
        };
        self.value.store(next.to_bits(), Relaxed);
    }

    /// `None` before the first sample.
    pub(crate) fn read(&self) -> Option<Duration> {
        let micros = f32::from_bits(self.value.load(Relaxed));
        (micros > 0.0).then(|| Duration::from_secs_f64(f64::from(micros.min(1e12)) / 1e6))
    }

    pub(crate) fn reset(&self) {
        self.value.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Mean of the estimate while it is settled, against the exact quantile, for a long-tailed
    /// distribution.
    fn error(steps: Steps, q: f64) -> f64 {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut draw = || {
            let normal: f64 = (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
            Duration::from_secs_f64(0.010 * (0.8 * normal).exp())
        };
        let mut all: Vec<_> = (0..100_000).map(|_| draw()).collect();
        let quantile = Quantile::default();
        let mut mean = 0.0;
        for (n, value) in all.iter().enumerate() {
            quantile.sample(*value, steps);
            if n >= 50_000 {
                mean += quantile.read().unwrap_or_default().as_secs_f64() / 50_000.0;
            }
        }
        all.sort_unstable();
        let exact = all[(q * 100_000.0) as usize].as_secs_f64();
        mean / exact - 1.0
    }

    #[test]
    fn it_settles_at_its_quantile() {
        let (median, tail) = (error(P50, 0.5), error(P95, 0.95));
        assert!(median.abs() < 0.03, "{median}");
        assert!(tail.abs() < 0.08, "{tail}");
    }

    #[test]
    fn one_value_is_that_value() {
        let quantile = Quantile::default();
        assert_eq!(quantile.read(), None);
        for value in [5 * MS, 7 * MS] {
            (0..200).for_each(|_| quantile.sample(value, P50));
            let read = quantile.read().unwrap();
            assert!(read.abs_diff(value) < MS / 1000, "{read:?}");
        }
    }

    #[test]
    fn the_tail_follows_a_slow_endpoint_within_26_calls_and_comes_back_within_500() {
        let quantile = Quantile::default();
        (0..100).for_each(|_| quantile.sample(10 * MS, P95));
        (0..26).for_each(|_| quantile.sample(100 * MS, P95));
        assert!(quantile.read().unwrap() > 99 * MS);
        (0..500).for_each(|_| quantile.sample(10 * MS, P95));
        assert!(quantile.read().unwrap() < 11 * MS);
    }
}
