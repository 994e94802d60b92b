use std::sync::Arc;

use twox_hash::XxHash64;

use super::{BackendIx, Filter, Mirror};

/// One target of a split.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub(crate) backend: BackendIx,
    pub(crate) weight: u32,
    pub(crate) filters: Arc<[Filter]>,
    pub(crate) mirrors: Arc<[Mirror]>,
    pub(crate) tag: u64,
}

/// The weighted targets of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    targets: Arc<[Target]>,
    total: u64,
}

// === impl Target ===

impl Target {
    /// A target without filters of its own.
    pub fn new(backend: BackendIx, weight: u32) -> Self {
        Self {
            backend,
            weight,
            filters: Arc::default(),
            mirrors: Arc::default(),
            tag: XxHash64::oneshot(0, &(backend.get() as u64).to_le_bytes()),
        }
    }

    /// The same for a backend of that name, which a sticky split and sessions know it by: a position
    /// changes with the policy, a name does not.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.tag = XxHash64::oneshot(0, name.as_bytes());
        self
    }

    /// A hash of the backend's name, the same in every process.
    pub fn tag(&self) -> u64 {
        self.tag
    }

    /// The backend.
    pub fn backend(&self) -> BackendIx {
        self.backend
    }

    /// Its part of the calls is this out of the sum of all.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Changes on the way to this target only, after those of the route.
    pub fn filters(&self) -> &[Filter] {
        &self.filters
    }

    /// Copies of the calls that go to this target, beside those of the route.
    pub fn mirrors(&self) -> &Arc<[Mirror]> {
        &self.mirrors
    }
}

impl Target {
    fn draw(&self, key: u64) -> f64 {
        const MANTISSA: u32 = 53;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&key.to_le_bytes());
        bytes[8..].copy_from_slice(&self.tag.to_le_bytes());
        let hash = XxHash64::oneshot(0, &bytes) >> (u64::BITS - MANTISSA);
        // In (0, 1): neither end would have a finite logarithm that differs from 0.
        let uniform = (hash as f64 + 0.5) / (1_u64 << MANTISSA) as f64;
        -uniform.ln() / f64::from(self.weight)
    }
}

// === impl Split ===

impl Split {
    /// A split over `targets`.
    pub fn new(targets: impl Into<Arc<[Target]>>) -> Self {
        let targets = targets.into();
        let total = targets.iter().map(|t| u64::from(t.weight)).sum();
        Self { targets, total }
    }

    /// Everything to one backend.
    pub fn one(backend: BackendIx) -> Self {
        Self::new([Target::new(backend, 1)])
    }

    /// A target at random by weight. `None` when no target has any weight.
    pub fn pick_target(&self, rng: &mut fastrand::Rng) -> Option<&Target> {
        let mut at = match self.total {
            0 => return None,
            total if self.targets.len() > 1 => rng.u64(..total),
            _ => 0,
        };
        self.targets.iter().find(|target| {
            let weight = u64::from(target.weight);
            let here = at < weight;
            at = at.saturating_sub(weight);
            here
        })
    }

    /// The target of all calls whose [key](crate::route::key) has this hash. `None` when no target has any weight.
    ///
    /// Weighted rendezvous: each target draws an exponential variate of rate `weight` from (key,
    /// name), and the lowest wins. So a key stays with its target over restarts, in every process
    /// and in any order of the targets, and a change of weights moves the fewest keys that any rule
    /// without memory can (Moulton and Jiang, "Maximally Consistent Sampling and the Jaccard Index
    /// of Probability Distributions"): between two targets exactly the difference, and no key moves
    /// between targets whose ratio stays as it was.
    pub fn pick_sticky(&self, key: u64) -> Option<&Target> {
        let weighted = self.targets.iter().filter(|target| target.weight > 0);
        let drawn = weighted.map(|target| (target.draw(key), target));
        drawn
            .min_by(|(a, _), (b, _)| a.total_cmp(b))
            .map(|(_, target)| target)
    }

    /// The target with that [tag](Target::tag), whatever its weight.
    pub fn target_of(&self, tag: u64) -> Option<&Target> {
        self.targets.iter().find(|target| target.tag == tag)
    }

    /// The backend of [`pick_target`](Self::pick_target).
    pub fn pick(&self, rng: &mut fastrand::Rng) -> Option<BackendIx> {
        self.pick_target(rng).map(Target::backend)
    }

    /// The targets, in the order of the policy.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_follow_the_weights() {
        let split = Split::new([
            Target::new(BackendIx(0), 90),
            Target::new(BackendIx(1), 0),
            Target::new(BackendIx(2), 10),
        ]);
        let mut rng = fastrand::Rng::with_seed(7);
        let mut hits = [0u32; 3];
        for _ in 0..10_000 {
            hits[split.pick(&mut rng).unwrap().get()] += 1;
        }
        assert_eq!(hits[1], 0);
        assert!((8800..9200).contains(&hits[0]), "{hits:?}");
    }

    #[test]
    fn no_weight_is_no_target() {
        let mut rng = fastrand::Rng::with_seed(7);
        assert_eq!(Split::new([]).pick(&mut rng), None);
        assert_eq!(
            Split::new([Target::new(BackendIx(0), 0)]).pick(&mut rng),
            None
        );
        assert_eq!(Split::one(BackendIx(3)).pick(&mut rng), Some(BackendIx(3)));
    }
}
