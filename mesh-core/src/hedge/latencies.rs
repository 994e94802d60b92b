use std::fmt;
use std::time::{Duration, Instant};

use crate::clock;
use crate::report::{BUCKETS, bucket_of, middle_of};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// How often the percentile is computed (Finagle).
const REFRESH_MS: u64 = 3000;
/// With fewer latencies than this a percentile says nothing.
const ENOUGH: u64 = 20;
/// With more than this, half of the past is forgotten at each refresh.
const FORGET_ABOVE: u64 = 500;
/// "Not known".
const UNKNOWN: u64 = u64::MAX;

/// The latencies of the recent past and one percentile of them. No lock, no allocation: whoever
/// comes first after 3 s computes it anew.
pub struct Latencies {
    counts: Box<[AtomicU32]>,
    next: AtomicU64,
    /// Microseconds.
    value: AtomicU64,
}

// === impl Latencies ===

impl Latencies {
    /// Nothing known yet.
    pub fn new() -> Self {
        Self {
            counts: (0..BUCKETS).map(|_| AtomicU32::new(0)).collect(),
            next: AtomicU64::new(0),
            value: AtomicU64::new(UNKNOWN),
        }
    }

    /// Adds the latency of an attempt.
    pub fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get(bucket_of(micros)) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// What `percent` of them do not exceed, at most 3 s old; `None` while too few are known.
    pub fn percentile(&self, percent: u32, now: Instant) -> Option<Duration> {
        let at = clock::millis(now);
        let next = self.next.load(Relaxed);
        if at >= next {
            let mine = self
                .next
                .compare_exchange(next, at + REFRESH_MS, Relaxed, Relaxed)
                .is_ok();
            if mine {
                self.refresh(percent);
                if self.value.load(Relaxed) == UNKNOWN {
                    // Not for 3 s more: the first calls are over soon.
                    self.next.store(at + REFRESH_MS / 10, Relaxed);
                }
            }
        }
        match self.value.load(Relaxed) {
            UNKNOWN => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }

    fn refresh(&self, percent: u32) {
        let total: u64 = self.counts.iter().map(|c| u64::from(c.load(Relaxed))).sum();
        if total < ENOUGH {
            return;
        }
        let rank = (total * u64::from(percent.min(100))).div_ceil(100).max(1);
        let mut seen = 0;
        let mut found = false;
        for (bucket, count) in self.counts.iter().enumerate() {
            let held = count.load(Relaxed);
            if held == 0 {
                continue;
            }
            seen += u64::from(held);
            if seen >= rank && !found {
                found = true;
                self.value.store(middle_of(bucket), Relaxed);
            }
            if total > FORGET_ABOVE {
                count.fetch_sub(held.div_ceil(2), Relaxed);
            }
        }
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latencies").finish_non_exhaustive()
    }
}
