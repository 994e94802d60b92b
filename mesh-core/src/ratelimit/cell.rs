use std::time::{Duration, Instant};

use crate::clock;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How often, in the terms of GCRA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds from one call to the next.
    interval: u64,
    burst: u32,
}

/// The state of one bucket: when the next call is due, in nanoseconds of [`clock`]. 0 is a full one.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

// === impl Rate ===

impl Rate {
    /// `requests` in `per`, of which `burst` may come at once. Zeros count as one.
    pub fn new(requests: u32, per: Duration, burst: u32) -> Self {
        // Rounded up: never more than was said.
        let interval = per.as_nanos().div_ceil(u128::from(requests.max(1))).max(1);
        Self {
            interval: u64::try_from(interval).unwrap_or(u64::MAX / 4),
            burst: burst.max(1),
        }
    }

    /// How far ahead of the present the next call may be due; `percent` of the burst, at least one
    /// call.
    fn ahead(self, percent: u32) -> u64 {
        let calls = (u64::from(self.burst) * u64::from(percent)).div_ceil(100);
        self.interval.saturating_mul(calls.max(1))
    }

    /// The state under this rate of a bucket that had `before`: as many calls of it are spent.
    pub(super) fn rescale(self, before: Self, due: u64, now: u64) -> u64 {
        let ahead = u128::from(due.saturating_sub(now));
        let ahead = ahead * u128::from(self.interval) / u128::from(before.interval);
        now.saturating_add(u64::try_from(ahead).unwrap_or(u64::MAX))
    }

    /// The state after a call at `now`, or how long it would have to wait.
    pub(super) fn step(self, due: u64, now: u64, percent: u32) -> Result<u64, Duration> {
        // Never further ahead than the burst, which a changed limit may have made shorter.
        let due = due.max(now).min(now.saturating_add(self.ahead(100)));
        let next = due.saturating_add(self.interval);
        let latest = now.saturating_add(self.ahead(percent));
        if next <= latest {
            Ok(next)
        } else {
            Err(Duration::from_nanos(next - latest))
        }
    }
}

// === impl Cell ===

impl Cell {
    /// Counts a call, or says how long it would have to wait. `percent` of the burst is for calls
    /// that matter as much as this one.
    ///
    /// # Errors
    /// The time until the call would be allowed.
    pub fn take(&self, rate: Rate, now: Instant, percent: u32) -> Result<(), Duration> {
        let now = clock::nanos(now);
        let mut wait = Duration::ZERO;
        self.0
            .fetch_update(Relaxed, Relaxed, |due| {
                rate.step(due, now, percent)
                    .map_err(|for_how_long| wait = for_how_long)
                    .ok()
            })
            .map(drop)
            .map_err(|_| wait)
    }

    /// Goes on under another rate: as many calls as were spent stay spent.
    pub(super) fn rescale(&self, before: Rate, after: Rate, now: u64) {
        // Never an error: the closure always answers.
        let _ = self.0.fetch_update(Relaxed, Relaxed, |due| {
            Some(after.rescale(before, due, now))
        });
    }

    /// What [`Cell::take`] would say.
    ///
    /// # Errors
    /// The time until a call would be allowed.
    pub fn peek(&self, rate: Rate, now: Instant, percent: u32) -> Result<(), Duration> {
        rate.step(self.0.load(Relaxed), clock::nanos(now), percent)
            .map(drop)
    }
}
