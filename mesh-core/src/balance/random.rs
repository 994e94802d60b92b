//! At random, by weight.

/// What picks need to know about the weights of a group.
#[derive(Debug)]
pub(super) enum Weights {
    /// All the same (also: all zero).
    Equal { number: usize, weight: u32 },
    /// Running sums.
    Sums(Box<[u64]>),
}

// === impl Weights ===

impl Weights {
    pub(super) fn new(weights: impl Iterator<Item = u32> + Clone) -> Self {
        let first = weights.clone().next().unwrap_or(0);
        if weights.clone().all(|weight| weight == first) {
            return Self::Equal {
                number: weights.count(),
                weight: first,
            };
        }
        let mut total = 0_u64;
        let sums = weights.map(|weight| {
            total = total.saturating_add(u64::from(weight));
            total
        });
        Self::Sums(sums.collect())
    }

    /// Endpoints of this weight take calls.
    pub(super) fn takes(&self, weight: u32) -> bool {
        weight > 0 || self.are_equal()
    }

    pub(super) fn are_equal(&self) -> bool {
        matches!(self, Self::Equal { .. })
    }

    /// The sum of all.
    pub(super) fn total(&self) -> u64 {
        match self {
            Self::Equal { number, weight } => *number as u64 * u64::from(*weight),
            Self::Sums(sums) => sums.last().copied().unwrap_or(0),
        }
    }

    /// A position by weight; the group is not empty.
    pub(super) fn sample(&self, rng: &mut fastrand::Rng) -> usize {
        match self {
            Self::Equal { number, .. } => rng.usize(..(*number).max(1)),
            Self::Sums(sums) => {
                let at = rng.u64(..self.total().max(1));
                sums.partition_point(|sum| *sum <= at)
            }
        }
    }
}
