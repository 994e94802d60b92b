//! Weighted round robin by the static stride scheduler of gRPC and Envoy.
//!
//! A turn is a number; its remainder by the number of entries says who is asked, the quotient how
//! often all were. An entry of weight `w` agrees in `w` of `max` rounds, evenly spread: no queue,
//! no lock, and nothing to build anew when a weight changes.
//!
//! Configured weights are kept exactly. One far above the mean would make the others decline most
//! of their rounds, so it is entered several times: a pick asks at most about five entries in the
//! mean. Weights that are measured (ORCA) are scaled to 65,535 and held to 1/100 and 10 times their
//! mean, as gRPC does.

use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Weights are scaled to at most this.
const MAX: u32 = u16::MAX as u32;
/// An entry is at most this many times the mean weight.
const SPLIT: u64 = 4;
/// gRPC's `kMaxRatio` and `kMinRatio`.
const MOST: f64 = 10.0;
const LEAST: f64 = 0.01;

/// The turns of a group of endpoints.
#[derive(Debug)]
pub(super) struct Stride {
    entries: Box<[Entry]>,
    /// Rounds after which everyone has had exactly its share.
    rounds: u32,
}

#[derive(Debug)]
struct Entry {
    at: u32,
    weight: AtomicU32,
}

// === impl Stride ===

impl Stride {
    /// Turns by configured weights. A weight of 0 gets none, unless all are 0.
    pub(super) fn new(weights: impl Iterator<Item = u32> + Clone) -> Self {
        let most = weights.clone().max().unwrap_or(0);
        let scaled = weights.zip(0_u32..).filter_map(|(weight, at)| {
            let weight = match (most, weight) {
                (0, _) => 1,
                (_, 0) => return None,
                (..=MAX, weight) => weight,
                _ => (u64::from(weight) * u64::from(MAX) / u64::from(most)).max(1) as u32,
            };
            Some((at, weight))
        });
        let scaled: Vec<(u32, u32)> = scaled.collect();
        let total: u64 = scaled.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mean = total.div_ceil((scaled.len() as u64).max(1));
        let largest = (mean * SPLIT).clamp(1, u64::from(MAX)) as u32;
        let parts = |weight: u32| weight.div_ceil(largest);
        // All first parts, then all second ones: the parts of one endpoint lie far apart.
        let rounds_of_parts = scaled.iter().map(|(_, w)| parts(*w)).max().unwrap_or(0);
        let mut entries = Vec::new();
        for part in 0..rounds_of_parts {
            for (at, weight) in &scaled {
                let parts = parts(*weight);
                if part < parts {
                    let one = weight / parts + u32::from(part < weight % parts);
                    entries.push((*at, one));
                }
            }
        }
        Self {
            rounds: entries.iter().map(|(_, weight)| *weight).max().unwrap_or(1),
            entries: entries.into_iter().map(Entry::new).collect(),
        }
    }

    /// Turns of `len` endpoints whose weights will be [measured](Self::set): all the same so far.
    pub(super) fn measured(len: usize) -> Self {
        Self {
            entries: (0..len as u32).map(|at| Entry::new((at, MAX))).collect(),
            rounds: MAX,
        }
    }

    /// Sets measured weights in place. What is not above 0 is unknown and gets the mean of the
    /// others; with fewer than two known, all are the same (A58).
    pub(super) fn set(&self, weights: &[f64]) {
        let known = || weights.iter().copied().filter(|weight| *weight > 0.0);
        let number = known().count();
        let mean = known().sum::<f64>() / number as f64;
        let most = known().fold(0.0, f64::max).min(mean * MOST);
        let scale = f64::from(MAX) / most;
        let scaled_mean = (mean * scale).round().clamp(1.0, f64::from(MAX));
        let least = (scaled_mean * LEAST).round().max(1.0);
        for (entry, weight) in self.entries.iter().zip(weights) {
            let weight = if number < 2 {
                f64::from(MAX)
            } else if *weight > 0.0 {
                (weight.min(most) * scale).round().max(least)
            } else {
                scaled_mean
            };
            entry.weight.store(weight as u32, Relaxed);
        }
    }

    /// Whose turn it is; takes turns until someone agrees. `None` of an empty group.
    pub(super) fn next(&self, turn: &AtomicU64) -> Option<usize> {
        let len = self.entries.len() as u64;
        let rounds = u64::from(self.rounds);
        loop {
            let sequence = turn.fetch_add(1, Relaxed);
            let index = sequence.checked_rem(len)?;
            let round = (sequence / len) % rounds;
            let entry = self.entries.get(index as usize)?;
            let weight = u64::from(entry.weight.load(Relaxed));
            // Half a turn apart: neighbours of the same weight do not decline together.
            let offset = (index % rounds) * (rounds / 2);
            if (weight * round + offset) % rounds >= rounds.saturating_sub(weight) {
                return Some(entry.at as usize);
            }
        }
    }
}

impl Entry {
    fn new((at, weight): (u32, u32)) -> Self {
        Self {
            at,
            weight: AtomicU32::new(weight),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn picks(stride: &Stride, turn: &AtomicU64, endpoints: usize, picks: usize) -> Vec<usize> {
        let mut hits = vec![0; endpoints];
        for _ in 0..picks {
            hits[stride.next(turn).unwrap()] += 1;
        }
        hits
    }

    fn measured(weights: &[f64]) -> Stride {
        let stride = Stride::measured(weights.len());
        stride.set(weights);
        stride
    }

    /// Of `stride`, from its first turn on.
    fn first(stride: &Stride, endpoints: usize, number: usize) -> Vec<usize> {
        picks(stride, &AtomicU64::new(0), endpoints, number)
    }

    #[test]
    fn grpc_static_stride_picks_are_weighted_exactly() {
        assert_eq!(first(&measured(&[1.0, 2.0, 3.0]), 3, 6), [1, 2, 3]);
        assert_eq!(first(&Stride::new([1, 2, 3].into_iter()), 3, 6), [1, 2, 3]);
    }

    #[test]
    fn grpc_static_stride_zero_weight_uses_mean() {
        assert_eq!(first(&measured(&[3.0, 0.0, 1.0]), 3, 6), [3, 2, 1]);
    }

    #[test]
    fn grpc_static_stride_all_weights_equal_is_round_robin() {
        for stride in [
            measured(&[300.0, 300.0, 0.0]),
            Stride::new([7, 7, 7].into_iter()),
        ] {
            let turn = AtomicU64::new(0);
            let order: Vec<_> = (0..3).map(|_| stride.next(&turn).unwrap()).collect();
            assert_eq!(order, [0, 1, 2]);
            for i in 0..1000 {
                assert_eq!(stride.next(&turn), Some(order[i % 3]));
            }
        }
    }

    #[test]
    fn grpc_static_stride_picks_are_deterministic_and_survive_a_rebuild() {
        let weights = [1.0, 2.0, 3.0];
        let (stride, turn) = (measured(&weights), AtomicU64::new(0));
        let order: Vec<_> = (0..100).map(|_| stride.next(&turn)).collect();
        let turn = AtomicU64::new(0);
        let rebuilt: Vec<_> = (0..100).map(|_| measured(&weights).next(&turn)).collect();
        assert_eq!(order, rebuilt);
    }

    #[test]
    fn grpc_static_stride_largest_is_picked_every_generation() {
        let hits = first(&measured(&[1.0, 2.0, 3.0]), 3, 65_535 * 2);
        assert_eq!(hits[2], 65_535);
    }

    #[test]
    fn grpc_static_stride_max_is_clamped_for_high_ratio() {
        let mut weights = [1.0; 20];
        weights[0] = 81.0;
        let mut expected = [1; 20];
        expected[0] = 50;
        assert_eq!(first(&measured(&weights), 20, 69), expected);
    }

    #[test]
    fn grpc_static_stride_min_is_clamped_for_high_ratio() {
        assert_eq!(first(&measured(&[100.0, 1e-10]), 2, 201), [200, 1]);
    }

    #[test]
    fn a58_fewer_than_two_weights_are_plain_round_robin() {
        assert_eq!(first(&measured(&[9.0, 0.0, 0.0]), 3, 9), [3, 3, 3]);
        assert_eq!(first(&measured(&[0.0, 0.0]), 2, 8), [4, 4]);
    }

    #[test]
    fn one_endpoint_far_above_the_others_costs_no_more_turns() {
        let mut weights = vec![1_u32; 1000];
        weights[17] = 1000;
        let stride = Stride::new(weights.iter().copied());
        let turn = AtomicU64::new(0);
        let hits = picks(&stride, &turn, 1000, 1999);
        assert_eq!(hits[17], 1000);
        assert!(hits.iter().enumerate().all(|(at, n)| at == 17 || *n == 1));
        let turns = turn.load(Relaxed);
        assert!(turns < 6 * 1999, "{turns} turns for 1,999 picks");
    }

    #[test]
    fn nobody_is_nobody() {
        assert_eq!(Stride::new([].into_iter()).next(&AtomicU64::new(0)), None);
        assert_eq!(first(&Stride::new([0, 0].into_iter()), 2, 4), [2, 2]);
        assert_eq!(first(&Stride::new([0, 3].into_iter()), 2, 4), [0, 4]);
    }

    proptest! {
        #[test]
        fn small_weights_are_exact_over_their_sum(weights in proptest::collection::vec(0_u32..40, 1..12)) {
            let total: u32 = weights.iter().sum();
            prop_assume!(total > 0);
            let stride = Stride::new(weights.iter().copied());
            let turn = AtomicU64::new(0);
            // A whole period from any whole period on.
            let hits = picks(&stride, &turn, weights.len(), total as usize);
            let expected: Vec<_> = weights.iter().map(|w| *w as usize).collect();
            prop_assert_eq!(hits, expected);
        }
    }
}
