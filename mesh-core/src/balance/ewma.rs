use std::time::{Duration, Instant};

use crate::clock;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Peak EWMA of latency: rises to a higher sample at once, falls with time constant `decay`.
///
/// Estimate and time of the last sample share one atomic, so that no reader sees a new estimate
/// with an old time. The estimate is an `f32` of microseconds; the time counts steps of 4 ms, which
/// wrap after 198 days without a sample.
#[derive(Debug, Default)]
pub(super) struct PeakEwma(AtomicU64);

const STEP_MS: u64 = 4;

// === impl PeakEwma ===

impl PeakEwma {
    /// The estimate faded to `now`; `None` before the first sample.
    pub(super) fn read(&self, decay: Duration, now: Instant) -> Option<Duration> {
        self.micros(decay, now)
            .map(|micros| Duration::from_secs_f64(f64::from(micros.min(1e12)) / 1e6))
    }

    /// [`PeakEwma::read`] in microseconds.
    pub(super) fn micros(&self, decay: Duration, now: Instant) -> Option<f32> {
        let (estimate, at) = unpack(self.0.load(Relaxed))?;
        Some(estimate * fade(at, step(now), decay))
    }

    /// Takes a sample.
    pub(super) fn sample(&self, value: Duration, decay: Duration, now: Instant) {
        // Not quite zero, so that a packed value never is.
        let value = (value.as_secs_f64() * 1e6).max(0.001) as f32;
        let now = step(now);
        let update = |packed| {
            let next = match unpack(packed) {
                Some((estimate, at)) if value <= estimate => {
                    let keep = fade(at, now, decay);
                    estimate * keep + value * (1.0 - keep)
                }
                _ => value,
            };
            Some(pack(next, now))
        };
        // The closure never declines.
        let _ = self.0.fetch_update(Relaxed, Relaxed, update);
    }

    /// Forgets everything.
    pub(super) fn reset(&self) {
        self.0.store(0, Relaxed);
    }
}

fn step(now: Instant) -> u32 {
    (clock::millis(now) / STEP_MS) as u32
}

/// `exp(-dt / decay)`. Time that seems to run backwards (another thread's older `now`) is no time.
fn fade(at: u32, now: u32, decay: Duration) -> f32 {
    let steps = now.wrapping_sub(at);
    let steps = if steps > u32::MAX / 2 { 0 } else { steps };
    if steps == 0 {
        return 1.0;
    }
    let seconds = steps as f32 * (STEP_MS as f32 / 1000.0);
    (-seconds / decay.as_secs_f32().max(0.001)).exp()
}

fn pack(estimate: f32, at: u32) -> u64 {
    u64::from(estimate.to_bits()) << 32 | u64::from(at)
}

fn unpack(packed: u64) -> Option<(f32, u32)> {
    (packed != 0).then(|| (f32::from_bits((packed >> 32) as u32), packed as u32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TAU: Duration = Duration::from_secs(10);
    const MS: Duration = Duration::from_millis(1);

    fn close(read: Option<Duration>, expected_ms: f64) -> bool {
        let read = read.unwrap().as_secs_f64() * 1000.0;
        (read - expected_ms).abs() <= expected_ms * 0.001 + 0.001
    }

    #[test]
    fn a_higher_sample_counts_at_once() {
        let now = Instant::now();
        let ewma = PeakEwma::default();
        assert_eq!(ewma.read(TAU, now), None);
        ewma.sample(10 * MS, TAU, now);
        ewma.sample(80 * MS, TAU, now);
        assert!(close(ewma.read(TAU, now), 80.0));
    }

    #[test]
    fn a_lower_sample_counts_by_the_time_that_passed() {
        let now = Instant::now();
        let ewma = PeakEwma::default();
        ewma.sample(100 * MS, TAU, now);
        ewma.sample(20 * MS, TAU, now + TAU);
        let keep = (-1.0_f64).exp();
        assert!(close(
            ewma.read(TAU, now + TAU),
            100.0 * keep + 20.0 * (1.0 - keep)
        ));
    }

    #[test]
    fn reading_fades_without_writing() {
        let now = Instant::now();
        let ewma = PeakEwma::default();
        ewma.sample(5000 * MS, TAU, now);
        assert!(close(
            ewma.read(TAU, now + 2 * TAU),
            5000.0 * (-2.0_f64).exp()
        ));
        assert!(close(ewma.read(TAU, now), 5000.0));
        assert!(close(ewma.read(TAU, now - MS), 5000.0));
    }

    #[test]
    fn many_small_steps_fade_as_one_large_step_does() {
        let now = Instant::now();
        let ewma = PeakEwma::default();
        ewma.sample(1000 * MS, TAU, now);
        for i in 1..=10_000 {
            ewma.sample(MS, TAU, now + i * MS);
        }
        let keep = (-1.0_f64).exp();
        let read = ewma.read(TAU, now + TAU).unwrap().as_secs_f64() * 1000.0;
        assert!(
            (read - (1000.0 * keep + (1.0 - keep))).abs() < 4.0,
            "{read}"
        );
    }

    proptest! {
        #[test]
        fn the_estimate_stays_between_the_samples(
            samples in proptest::collection::vec((1_u64..10_000, 0_u64..60_000), 1..50)
        ) {
            let mut now = Instant::now();
            let ewma = PeakEwma::default();
            for (rtt, after) in &samples {
                now += Duration::from_millis(*after);
                ewma.sample(Duration::from_millis(*rtt), TAU, now);
            }
            let read = ewma.read(TAU, now).unwrap().as_secs_f64() * 1000.0;
            let low = samples.iter().map(|s| s.0).min().unwrap() as f64;
            let high = samples.iter().map(|s| s.0).max().unwrap() as f64;
            prop_assert!((low * 0.999..=high * 1.001).contains(&read));
        }
    }
}
