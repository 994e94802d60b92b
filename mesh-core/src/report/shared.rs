use std::fmt;
use std::time::Duration;

use super::Histogram;
use super::histogram::{BUCKETS, bucket_of};
use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A histogram that many threads record into at once, without lock or allocation, and that is
/// emptied once an interval.
pub struct SharedHistogram(Box<[AtomicU32]>);

// === impl SharedHistogram ===

impl SharedHistogram {
    /// Adds one duration.
    pub fn record(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        if let Some(slot) = self.0.get(bucket_of(micros)) {
            slot.fetch_add(1, Relaxed);
        }
    }

    /// What was recorded since the last call.
    pub fn take(&self) -> Histogram {
        let counts = self.0.iter().enumerate();
        Histogram::from_filled(counts.map(|(bucket, slot)| {
            // Most slots are zero: a read is cheaper than a swap.
            let count = match slot.load(Relaxed) {
                0 => 0,
                _ => slot.swap(0, Relaxed),
            };
            (bucket, u64::from(count))
        }))
    }
}

impl Default for SharedHistogram {
    fn default() -> Self {
        Self((0..BUCKETS).map(|_| AtomicU32::new(0)).collect())
    }
}

impl fmt::Debug for SharedHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedHistogram")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_is_taken_once() {
        let shared = SharedHistogram::default();
        shared.record(Duration::from_millis(3));
        shared.record(Duration::from_millis(3));
        assert_eq!(shared.take().count(), 2);
        assert!(shared.take().is_empty());
    }
}
