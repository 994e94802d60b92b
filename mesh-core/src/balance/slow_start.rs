//! Slow start: an endpoint that comes back takes its share by and by (Envoy).

use std::time::Duration;

/// The part of its share that an endpoint takes `elapsed` after it came back:
/// `max(min_percent, (elapsed / window)^(1 / aggression))`, at most 1.
pub(crate) fn factor(
    elapsed: Duration,
    window: Duration,
    min_percent: u32,
    aggression_milli: u32,
) -> f32 {
    if window.is_zero() || elapsed >= window {
        return 1.0;
    }
    let time = elapsed.as_secs_f32() / window.as_secs_f32();
    let grown = match aggression_milli {
        1000 => time,
        milli => time.powf(1000.0 / milli.max(1) as f32),
    };
    grown.max(min_percent as f32 / 100.0).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, min_percent: u32, aggression_milli: u32) -> f32 {
        let window = Duration::from_secs(60);
        factor(
            Duration::from_secs(seconds),
            window,
            min_percent,
            aggression_milli,
        )
    }

    #[test]
    fn envoy_slow_start_grows_in_a_straight_line_from_ten_percent() {
        assert_eq!(at(0, 10, 1000), 0.1);
        assert_eq!(at(3, 10, 1000), 0.1);
        assert_eq!(at(30, 10, 1000), 0.5);
        assert_eq!(at(60, 10, 1000), 1.0);
        assert_eq!(at(90, 10, 1000), 1.0);
    }

    #[test]
    fn envoy_slow_start_aggression_bends_the_line() {
        // (15 / 60)^(1 / 2) = 0.5; (15 / 60)^(1 / 0.5) = 0.0625, below the least share.
        assert!((at(15, 10, 2000) - 0.5).abs() < 1e-6);
        assert_eq!(at(15, 10, 500), 0.1);
        assert!((at(15, 1, 500) - 0.0625).abs() < 1e-6);
    }

    #[test]
    fn no_window_is_no_slow_start() {
        assert_eq!(factor(Duration::ZERO, Duration::ZERO, 10, 1000), 1.0);
    }
}
