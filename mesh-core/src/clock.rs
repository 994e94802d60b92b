//! Instants as numbers, so that they fit an atomic.
//!
//! The numbers count from an hour before the first instant that this process passed in: only their
//! differences mean anything, and the clock itself is never read here.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

static ANCHOR: OnceLock<Instant> = OnceLock::new();

/// Milliseconds from the anchor to `now`; never 0, which callers use for "not set".
pub(crate) fn millis(now: Instant) -> u64 {
    let since = now.saturating_duration_since(anchor(now));
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Nanoseconds from the anchor to `now`; never 0. Good for 584 years.
pub(crate) fn nanos(now: Instant) -> u64 {
    let since = now.saturating_duration_since(anchor(now));
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).max(1)
}

fn anchor(now: Instant) -> Instant {
    // Instants a little older than the first one are still told apart.
    *ANCHOR.get_or_init(|| now.checked_sub(Duration::from_secs(3600)).unwrap_or(now))
}

/// How far into an hour of this clock `now` is, to the millisecond. Windows and slots begin at whole
/// multiples of their length on this clock, so a simulation that is to repeat itself begins at 0.
pub fn into_the_hour(now: Instant) -> Duration {
    Duration::from_millis(millis(now) % 3_600_000)
}

/// The instant of a number that [`millis`] gave.
pub(crate) fn instant(millis: u64, now: Instant) -> Instant {
    let current = self::millis(now);
    match millis.checked_sub(current) {
        Some(ahead) => now.checked_add(Duration::from_millis(ahead)),
        None => now.checked_sub(Duration::from_millis(current - millis)),
    }
    .unwrap_or(now)
}

/// A duration in milliseconds.
pub(crate) fn duration(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_the_instant_again() {
        let now = Instant::now();
        for ahead in [0, 1, 250, 30_000] {
            let then = now + Duration::from_millis(ahead);
            let back = instant(millis(then), now);
            let error = back.max(then) - back.min(then);
            assert!(error <= Duration::from_millis(1));
        }
    }
}
