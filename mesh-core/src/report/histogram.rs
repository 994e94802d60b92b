use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Sub-buckets per power of two: 16, so a bucket is at most 6.25 % wide.
const SUB_BITS: u32 = 4;
const SUB: u64 = 1 << SUB_BITS;
/// Largest value: 2^30 - 1 microseconds, nearly 18 minutes. What is longer counts there.
const MAX_BITS: u32 = 30;
/// Number of buckets.
pub(crate) const BUCKETS: usize = ((MAX_BITS - SUB_BITS + 1) << SUB_BITS) as usize;

/// Durations in log-linear buckets of microseconds: fixed size, exact to 6.25 %, and two of them
/// add up to the histogram of both.
///
/// ```
/// use mesh_core::report::Histogram;
/// use std::time::Duration;
///
/// let mut histogram = Histogram::default();
/// for ms in 1..=100 {
///     histogram.record(Duration::from_millis(ms));
/// }
/// let p99 = histogram.quantile(0.99).unwrap_or_default();
/// assert!((95..105).contains(&p99.as_millis()));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// Empty until something is recorded; then [`BUCKETS`] long.
    counts: Vec<u64>,
    total: u64,
}

/// The bucket of a duration in microseconds.
pub(crate) fn bucket_of(micros: u64) -> usize {
    let value = micros.min((1 << MAX_BITS) - 1);
    if value < SUB {
        return value as usize;
    }
    // The power of two above the linear part selects a row, the next SUB_BITS bits the column.
    let row = value.ilog2() - SUB_BITS;
    let column = (value >> row) - SUB;
    (u64::from(row + 1) * SUB + column) as usize
}

/// The middle of a bucket, in microseconds.
pub(crate) fn middle_of(bucket: usize) -> u64 {
    let (row, column) = (bucket as u64 / SUB, bucket as u64 % SUB);
    match row {
        0 => column,
        _ => {
            let width = 1 << (row - 1);
            (SUB + column) * width + width / 2
        }
    }
}

// === impl Histogram ===

impl Histogram {
    /// Adds one duration.
    pub fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.add(bucket_of(micros), 1);
    }

    pub(crate) fn add(&mut self, bucket: usize, count: u64) {
        if count == 0 {
            return;
        }
        if self.counts.is_empty() {
            self.counts = vec![0; BUCKETS];
        }
        if let Some(slot) = self.counts.get_mut(bucket) {
            *slot = slot.saturating_add(count);
            self.total = self.total.saturating_add(count);
        }
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in other.filled() {
            self.add(bucket, count);
        }
    }

    /// How many durations were recorded.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// Nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The duration that a share `q` (0 to 1) of all do not exceed; `None` when empty.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let rank = (q.clamp(0.0, 1.0) * self.total as f64).ceil().max(1.0) as u64;
        let mut seen = 0_u64;
        self.filled()
            .find(|(_, count)| {
                seen = seen.saturating_add(*count);
                seen >= rank
            })
            .map(|(bucket, _)| Duration::from_micros(middle_of(bucket)))
    }

    /// The buckets that hold something, as `(bucket, count)` in rising order.
    pub fn filled(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let counts = self.counts.iter().copied().enumerate();
        counts.filter(|(_, count)| *count > 0)
    }

    /// A histogram from `(bucket, count)` pairs; buckets that do not exist are left out.
    pub fn from_filled(filled: impl IntoIterator<Item = (usize, u64)>) -> Self {
        let mut histogram = Self::default();
        for (bucket, count) in filled {
            histogram.add(bucket, count);
        }
        histogram
    }
}

impl PartialEq for Histogram {
    fn eq(&self, other: &Self) -> bool {
        self.total == other.total && self.filled().eq(other.filled())
    }
}

impl Eq for Histogram {}

/// As a list of `[bucket, count]`: most buckets are empty.
impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.filled())
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let filled = Vec::<(usize, u64)>::deserialize(deserializer)?;
        Ok(Self::from_filled(filled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_histogram_has_no_quantile() {
        assert_eq!(Histogram::default().quantile(0.5), None);
    }

    #[test]
    fn buckets_rise_without_gaps_to_the_last() {
        let mut last = 0;
        for micros in 0..200_000 {
            let bucket = bucket_of(micros);
            assert!(bucket == last || bucket == last + 1, "{micros}");
            last = bucket;
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert!((0..BUCKETS).all(|b| bucket_of(middle_of(b)) == b));
    }

    proptest! {
        #[test]
        fn a_quantile_is_exact_to_the_width_of_a_bucket(
            mut values in proptest::collection::vec(1_u64..1_000_000_000, 1..200), q in 0.0..=1.0_f64
        ) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|v| histogram.record(Duration::from_micros(*v)));
            values.sort_unstable();
            let rank = (q * values.len() as f64).ceil().max(1.0) as usize;
            let exact = values[rank - 1] as f64;
            let read = histogram.quantile(q).unwrap().as_micros() as f64;
            prop_assert!((read - exact).abs() <= exact * 0.0625 + 1.0, "{read} {exact}");
        }

        #[test]
        fn merging_is_recording_both(
            a in proptest::collection::vec(any::<u64>(), 0..50),
            b in proptest::collection::vec(any::<u64>(), 0..50)
        ) {
            let of = |values: &[u64]| {
                let mut histogram = Histogram::default();
                values.iter().for_each(|v| histogram.record(Duration::from_micros(*v)));
                histogram
            };
            let mut merged = of(&a);
            merged.merge(&of(&b));
            prop_assert_eq!(&merged, &of(&[a, b].concat()));
            let text = serde_json::to_string(&merged).unwrap();
            prop_assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), merged);
        }
    }
}
