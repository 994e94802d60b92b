//! Priorities and panic: how calls divide when endpoints fail (Envoy).
//!
//! The health of a priority is what share of its endpoints is available, times 1.4: with 72 % left
//! it still counts as whole. The first priority takes as much as its health, the rest goes to the
//! next ones. Only when all of them together are below 100 % are there too few endpoints anywhere,
//! and a priority of which less than half is available panics: all its endpoints are used, since
//! overrunning the few would take those down too.

/// More priorities than this count as the last of these.
pub(super) const MAX_PRIORITIES: usize = 8;

/// Endpoints of a priority or a zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) available: usize,
    pub(super) total: usize,
}

/// How calls divide among priorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loads {
    /// Percentages, 100 together when there is any endpoint.
    loads: [u32; MAX_PRIORITIES],
    /// Health of all together, at most 100.
    pub(super) health: u32,
}

// === impl Count ===

impl Count {
    /// Less than `percent` is available.
    pub(super) fn is_below(self, percent: u32) -> bool {
        self.available * 100 < self.total * percent as usize
    }

    /// `min(100, overprovisioning x available / total)`.
    pub(super) fn health(self, overprovisioning: u32) -> u32 {
        let health = (self.available * overprovisioning as usize)
            .checked_div(self.total)
            .unwrap_or(0);
        health.min(100) as u32
    }
}

impl std::ops::Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            available: self.available + other.available,
            total: self.total + other.total,
        }
    }
}

// === impl Loads ===

impl Loads {
    /// The division among `priorities`, first one first.
    pub(super) fn new(priorities: &[Count], overprovisioning: u32, panic_percent: u32) -> Self {
        let health = |count: &Count| count.health(overprovisioning);
        let total: u32 = priorities.iter().map(health).sum::<u32>().min(100);
        let mut loads = Self {
            loads: [0; MAX_PRIORITIES],
            health: total,
        };
        if total == 0 && panic_percent > 0 {
            // Everyone panics: all endpoints are used, so each priority by its size.
            let endpoints: usize = priorities.iter().map(|count| count.total).sum();
            loads.divide(priorities.iter().map(|count| {
                let percent = (count.total * 100 + endpoints / 2).checked_div(endpoints);
                percent.unwrap_or(0) as u32
            }));
        } else if total > 0 {
            loads.divide(
                priorities
                    .iter()
                    .map(|c| (health(c) * 100 + total / 2) / total),
            );
        }
        loads
    }

    /// Each what it asks for, as long as there is something left; what is left goes to the first
    /// that takes any.
    fn divide(&mut self, asked: impl Iterator<Item = u32>) {
        let mut left = 100;
        for (load, asked) in self.loads.iter_mut().zip(asked) {
            *load = asked.min(left);
            left -= *load;
        }
        if let Some(first) = self.loads.iter_mut().find(|load| **load > 0) {
            *first += left;
        }
    }

    /// The priority at `point`, 0 to 99, of the calls. `None` when no endpoint is available.
    pub(super) fn at(&self, point: u32) -> Option<usize> {
        let mut sum = 0;
        self.loads.iter().position(|load| {
            sum += load;
            point < sum
        })
    }

    /// Whether a priority is in panic.
    pub(super) fn panics(&self, count: Count, panic_percent: u32) -> bool {
        self.health < 100 && count.is_below(panic_percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loads and panic of priorities that have these percentages of their endpoints available.
    fn divided<const N: usize>(available: [usize; N]) -> ([u32; N], [bool; N], u32) {
        let counts = available.map(|available| Count {
            available,
            total: 100,
        });
        let loads = Loads::new(&counts, 140, 50);
        let panics = counts.map(|count| loads.panics(count, 50));
        (
            std::array::from_fn(|at| loads.loads[at]),
            panics,
            loads.health,
        )
    }

    fn loads<const N: usize>(available: [usize; N]) -> [u32; N] {
        divided(available).0
    }

    #[test]
    fn envoy_priority_table_with_a_healthy_second() {
        assert_eq!(loads([100, 100]), [100, 0]);
        assert_eq!(loads([72, 100]), [100, 0]);
        assert_eq!(loads([71, 100]), [99, 1]);
        assert_eq!(loads([50, 100]), [70, 30]);
        assert_eq!(loads([25, 100]), [35, 65]);
        assert_eq!(loads([0, 100]), [0, 100]);
    }

    #[test]
    fn envoy_priority_table_of_two() {
        assert_eq!(loads([72, 72]), [100, 0]);
        assert_eq!(loads([71, 71]), [99, 1]);
        assert_eq!(loads([50, 50]), [70, 30]);
        assert_eq!(loads([25, 100]), [35, 65]);
        assert_eq!(loads([25, 25]), [50, 50]);
    }

    #[test]
    fn envoy_priority_table_of_three() {
        assert_eq!(loads([100, 100, 100]), [100, 0, 0]);
        assert_eq!(loads([72, 72, 100]), [100, 0, 0]);
        assert_eq!(loads([71, 71, 100]), [99, 1, 0]);
        assert_eq!(loads([50, 50, 100]), [70, 30, 0]);
        assert_eq!(loads([25, 100, 100]), [35, 65, 0]);
        assert_eq!(loads([25, 25, 100]), [35, 35, 30]);
        assert_eq!(loads([25, 25, 20]), [36, 36, 28]);
    }

    #[test]
    fn envoy_health_of_20_and_30_is_normalised_to_40_and_60() {
        // 100 x 0.2 and 0.3 without overprovisioning.
        let counts = [20, 30].map(|available| Count {
            available,
            total: 100,
        });
        let loads = Loads::new(&counts, 100, 0);
        assert_eq!((loads.loads[0], loads.loads[1], loads.health), (40, 60, 50));
    }

    #[test]
    fn envoy_panic_table_with_a_healthy_second_never_panics() {
        for available in [72, 71, 50, 25, 0] {
            let (_, panics, health) = divided([available, 100]);
            assert_eq!((panics, health), ([false, false], 100), "{available} %");
        }
    }

    #[test]
    fn envoy_panic_table_by_its_formula() {
        assert_eq!(divided([72, 72]), ([100, 0], [false, false], 100));
        assert_eq!(divided([71, 71]), ([99, 1], [false, false], 100));
        // The page says 50/50 and 25/75 in these two rows; its own formula says 70/30 and 35/65.
        assert_eq!(divided([50, 60]), ([70, 30], [false, false], 100));
        assert_eq!(divided([25, 100]), ([35, 65], [false, false], 100));
        assert_eq!(divided([25, 25]), ([50, 50], [true, true], 70));
        assert_eq!(divided([5, 65]), ([7, 93], [true, false], 98));
    }

    #[test]
    fn when_nothing_is_available_priorities_share_by_size_or_not_at_all() {
        let counts = [30, 10].map(|total| Count {
            available: 0,
            total,
        });
        let loads = Loads::new(&counts, 140, 50);
        assert_eq!((loads.at(74), loads.at(75)), (Some(0), Some(1)));
        // Panic is off: nobody takes any.
        assert_eq!(Loads::new(&counts, 140, 0).at(0), None);
    }

    #[test]
    fn every_point_has_a_priority() {
        for a in 0..=100 {
            for b in (0..=100).step_by(7) {
                let counts = [a, b, 3].map(|available| Count {
                    available,
                    total: 100,
                });
                let loads = Loads::new(&counts, 140, 50);
                assert_eq!(loads.loads.iter().sum::<u32>(), 100, "{a} {b}");
                assert!((0..100).all(|point| loads.at(point).is_some()));
            }
        }
    }
}
