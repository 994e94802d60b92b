//! Zones: the own one first, as far as no endpoint anywhere gets more than its share (Envoy).
//!
//! A zone can take its part of the endpoints' weight, less what is not available beyond the
//! overprovisioning. If the own zone can take more than the part of the callers that it holds, all
//! calls stay in it. If not, it takes what it can, and the rest goes to the zones that have room
//! left beside their own callers.
//!
//! Where callers are is told by the control server; until it is known, they are taken to be as many
//! in each zone.

use super::panic::Count;

/// More zones than this are looked at as if they were one.
pub(super) const MAX_ZONES: usize = 16;

/// Parts of a whole, in 1/10,000.
const WHOLE: u32 = 10_000;

/// What is known of a zone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Zone {
    /// Sum of the weights of its endpoints.
    pub(super) weight: u64,
    pub(super) count: Count,
    /// Callers there, in 1/10,000 of all.
    pub(super) callers: u32,
}

/// How calls divide among zones, in 1/10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shares([u32; MAX_ZONES]);

// === impl Zone ===

impl Zone {
    /// `weight x min(100, overprovisioning x available / total)`.
    fn effective(&self, overprovisioning: u32) -> u64 {
        self.weight * u64::from(self.count.health(overprovisioning))
    }
}

// === impl Shares ===

impl Shares {
    /// By effective weight alone (Envoy's locality weighted load balancing).
    pub(super) fn by_weight(zones: &[Zone], overprovisioning: u32) -> Self {
        let mut shares = [0; MAX_ZONES];
        let total: u64 = zones
            .iter()
            .map(|zone| zone.effective(overprovisioning))
            .sum();
        for (share, zone) in shares.iter_mut().zip(zones) {
            let part = u128::from(zone.effective(overprovisioning)) * u128::from(WHOLE);
            *share = part.checked_div(u128::from(total)).unwrap_or(0) as u32;
        }
        Self(shares)
    }

    /// For a caller in zone `own` (Envoy's zone aware routing).
    pub(super) fn from_zone(own: usize, zones: &[Zone], overprovisioning: u32) -> Self {
        let capacity = Self::by_weight(zones, overprovisioning);
        let Some(callers) = zones.get(own).map(|zone| zone.callers) else {
            return capacity;
        };
        let mut shares = [0; MAX_ZONES];
        let here = capacity.0[own];
        if here >= callers {
            shares[own] = if here == 0 { 0 } else { WHOLE };
            return if here == 0 { capacity } else { Self(shares) };
        }
        shares[own] = here * WHOLE / callers;
        let rest = WHOLE - shares[own];
        let room = |at: usize| match zones.get(at) {
            Some(zone) if at != own => capacity.0[at].saturating_sub(zone.callers),
            _ => 0,
        };
        let total: u32 = (0..zones.len()).map(room).sum();
        for (at, share) in shares.iter_mut().enumerate().filter(|(at, _)| *at != own) {
            *share = match total {
                // No zone has room beside its own callers: as they can take it.
                0 => rest * capacity.0[at] / (WHOLE - here).max(1),
                total => (u64::from(rest) * u64::from(room(at)) / u64::from(total)) as u32,
            };
        }
        Self(shares)
    }

    /// The zone at `point`, anything from 0 on, of the calls; `None` when none has any.
    pub(super) fn at(&self, point: u64) -> Option<usize> {
        let total: u64 = self.0.iter().map(|share| u64::from(*share)).sum();
        let point = point.checked_rem(total)?;
        let mut sum = 0;
        self.0.iter().position(|share| {
            sum += u64::from(*share);
            point < sum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(weight: u64, available: usize, total: usize, callers: u32) -> Zone {
        Zone {
            weight,
            count: Count { available, total },
            callers,
        }
    }

    /// Of zones with `(callers, endpoints)`, seen from the first: percentages.
    fn from_first<const N: usize>(zones: [(u32, usize); N]) -> [u32; N] {
        let all: u32 = zones.iter().map(|(callers, _)| callers).sum();
        let zones = zones.map(|(callers, endpoints)| {
            zone(
                endpoints as u64,
                endpoints,
                endpoints,
                callers * WHOLE / all,
            )
        });
        let shares = Shares::from_zone(0, &zones, 140);
        std::array::from_fn(|at| (shares.0[at] + 50) / 100)
    }

    #[test]
    fn envoy_locality_table() {
        let x_and_y = |available: usize| {
            let zones = [zone(1, available, 100, 0), zone(2, 100, 100, 0)];
            let shares = Shares::by_weight(&zones, 140);
            ((shares.0[0] + 50) / 100, (shares.0[1] + 50) / 100)
        };
        assert_eq!(x_and_y(100), (33, 67));
        // At 70 % the page says 33; its formula says 98 / 298 = 32.9, the same.
        assert_eq!(x_and_y(70), (33, 67));
        assert_eq!(x_and_y(69), (32, 68));
        assert_eq!(x_and_y(50), (26, 74));
        assert_eq!(x_and_y(25), (15, 85));
        assert_eq!(x_and_y(0), (0, 100));
    }

    #[test]
    fn envoy_zone_aware_small_zone_spills_by_residual_capacity() {
        // Envoy's ZoneAwareRoutingSmallZone: callers 1/1/1, endpoints 1/2/2: 60 % stay.
        assert_eq!(from_first([(1, 1), (1, 2), (1, 2)]), [60, 20, 20]);
    }

    #[test]
    fn envoy_zone_aware_large_zone_keeps_all() {
        // Envoy's ZoneAwareRoutingLargeZoneSwitchOnOff: the own zone has its share.
        assert_eq!(from_first([(1, 1), (1, 1), (1, 1)]), [100, 0, 0]);
        assert_eq!(from_first([(1, 4), (3, 2)]), [100, 0]);
    }

    #[test]
    fn callers_in_one_zone_use_all_endpoints_alike() {
        assert_eq!(from_first([(1, 2), (0, 2), (0, 4)]), [25, 25, 50]);
    }

    #[test]
    fn every_endpoint_gets_its_share_when_all_zones_follow_the_rule() {
        let (callers, endpoints) = ([5, 3, 2], [2, 4, 4]);
        let zones: [Zone; 3] = std::array::from_fn(|at| {
            zone(
                endpoints[at],
                endpoints[at] as usize,
                endpoints[at] as usize,
                callers[at] * 1000,
            )
        });
        let mut load = [0.0; 3];
        for (from, callers) in callers.into_iter().enumerate() {
            let shares = Shares::from_zone(from, &zones, 140);
            for (to, load) in load.iter_mut().enumerate() {
                *load += f64::from(callers * shares.0[to]) / 100_000.0;
            }
        }
        for (load, endpoints) in load.iter().zip(endpoints) {
            assert!((load - endpoints as f64 / 10.0).abs() < 0.01, "{load:?}");
        }
    }

    #[test]
    fn a_zone_that_fails_spills_only_beyond_the_overprovisioning() {
        let seen = |available: usize| {
            let zones = [zone(10, available, 10, 5000), zone(10, 10, 10, 5000)];
            (Shares::from_zone(0, &zones, 140).0[0] + 50) / 100
        };
        assert_eq!(seen(10), 100);
        // 80 % x 1.4 is whole.
        assert_eq!(seen(8), 100);
        // 70 / 170 = 41 % of the capacity for 50 % of the callers.
        assert_eq!(seen(5), 82);
        assert_eq!(seen(0), 0);
    }

    #[test]
    fn every_point_has_a_zone_unless_nothing_is_available() {
        let zones = [
            zone(1, 1, 3, 3333),
            zone(7, 2, 5, 3333),
            zone(2, 0, 9, 3333),
        ];
        let shares = Shares::from_zone(0, &zones, 140);
        assert!((0..20_000).all(|point| shares.at(point).is_some_and(|at| at < 2)));
        let none = [zone(1, 0, 3, 5000), zone(1, 0, 3, 5000)];
        assert_eq!(Shares::from_zone(0, &none, 140).at(0), None);
    }
}
