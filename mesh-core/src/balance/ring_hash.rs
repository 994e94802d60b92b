//! A ring of hashes (gRFC A42, Envoy): each endpoint has places on it by weight, a request goes to
//! the first place at or after its own hash. An endpoint that comes or goes moves only the keys
//! next to its places.

use super::hash::TextHash;
use std::net::SocketAddr;

/// The ring: hashes ascending, and who is at each.
#[derive(Debug)]
pub(super) struct Ring {
    hashes: Box<[u64]>,
    members: Box<[u32]>,
}

// === impl Ring ===

impl Ring {
    /// A ring for endpoints with weights (0 has no place, unless all are 0), of `min` places or of
    /// as many more as the least weight needs for a whole number of them; never more than `max`.
    pub(super) fn new(endpoints: &[(SocketAddr, u32)], min: u32, max: u32) -> Self {
        let total: u64 = endpoints.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let share = |weight: u32| match total {
            0 => 1.0 / endpoints.len() as f64,
            _ => f64::from(weight) / total as f64,
        };
        let least = endpoints
            .iter()
            .map(|(_, weight)| share(*weight))
            .filter(|share| *share > 0.0)
            .fold(f64::INFINITY, f64::min);
        let scale = ((least * f64::from(min)).ceil() / least).min(f64::from(max));
        let mut places = Vec::new();
        // Places are dealt by running sums, so that rounding does not add up.
        let (mut placed, mut target) = (0.0, 0.0);
        for ((addr, weight), member) in endpoints.iter().zip(0_u32..) {
            target += scale * share(*weight);
            let mut number = 0_u64;
            while placed < target {
                let hash = TextHash::of(0, format_args!("{addr}_{number}"));
                places.push((hash, member));
                placed += 1.0;
                number += 1;
            }
        }
        places.sort_unstable();
        let (hashes, members): (Vec<_>, Vec<_>) = places.into_iter().unzip();
        Self {
            hashes: hashes.into(),
            members: members.into(),
        }
    }

    /// Members in the order of the ring from `hash` on, once around.
    pub(super) fn from(&self, hash: u64) -> impl Iterator<Item = usize> + '_ {
        let first = self.hashes.partition_point(|place| *place < hash);
        let (before, after) = self.members.split_at(first);
        after.iter().chain(before).map(|member| *member as usize)
    }

    #[cfg(test)]
    fn places(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let members = self.members.iter().map(|member| *member as usize);
        members.zip(self.hashes.iter().copied())
    }
}

#[cfg(test)]
#[allow(clippy::print_stderr, reason = "the figures of the run")]
mod tests {
    use super::*;

    fn endpoints(ports: std::ops::Range<u16>) -> Vec<(SocketAddr, u32)> {
        ports
            .map(|port| (([127, 0, 0, 1], port).into(), 1))
            .collect()
    }

    fn at(ring: &Ring, hash: u64) -> Option<usize> {
        ring.from(hash).next()
    }

    #[test]
    fn a42_ring_of_six_hosts_has_envoys_places() {
        let ring = Ring::new(&endpoints(90..96), 12, 4096);
        let places: Vec<_> = ring.places().collect();
        let published = [
            (4, 833_437_586_790_550_860),
            (2, 928_266_305_478_181_108),
            (0, 1_033_482_794_131_418_490),
            (5, 3_551_244_743_356_806_947),
            (3, 3_851_675_632_748_031_481),
            (1, 5_583_722_120_771_150_861),
            (1, 6_311_230_543_546_372_928),
            (3, 7_700_377_290_971_790_572),
            (5, 13_144_177_310_400_110_813),
            (2, 13_444_792_449_719_432_967),
            (4, 15_516_499_411_664_133_160),
            (0, 16_117_243_373_044_804_889),
        ];
        assert_eq!(places, published);
    }

    #[test]
    fn a42_a_request_goes_to_the_place_at_or_after_its_hash() {
        let ring = Ring::new(&endpoints(90..96), 12, 4096);
        assert_eq!(at(&ring, 0), Some(4));
        assert_eq!(at(&ring, u64::MAX), Some(4));
        assert_eq!(at(&ring, 3_551_244_743_356_806_947), Some(5));
        assert_eq!(at(&ring, 3_551_244_743_356_806_948), Some(3));
        assert_eq!(at(&ring, 16_117_243_373_044_804_880), Some(0));
        assert_eq!(at(&Ring::new(&[], 12, 4096), 0), None);
    }

    #[test]
    fn a42_the_size_is_bounded_and_weights_are_places() {
        let places = |weights: &[u32], min, max| {
            let endpoints: Vec<_> = endpoints(1..1 + weights.len() as u16)
                .iter()
                .zip(weights)
                .map(|((addr, _), weight)| (*addr, *weight))
                .collect();
            let ring = Ring::new(&endpoints, min, max);
            let mut counts = vec![0; weights.len()];
            ring.places().for_each(|(member, _)| counts[member] += 1);
            counts
        };
        assert_eq!(places(&[1, 2, 1], 8, 4096), [2, 4, 2]);
        assert_eq!(places(&[1, 0, 1], 8, 4096), [4, 0, 4]);
        assert_eq!(places(&[0, 0], 8, 4096), [4, 4]);
        // A third each of 1,024 is not whole: a little more.
        assert_eq!(places(&[1, 1, 1], 1024, 4096), [342, 342, 342]);
        assert_eq!(places(&[1, 1, 1, 1], 1024, 12), [3, 3, 3, 3]);
    }

    #[test]
    fn one_endpoint_fewer_moves_its_own_keys_and_few_others() {
        let all = endpoints(1..11);
        let (before, after) = (
            Ring::new(&all, 1024, 4096),
            Ring::new(&all[..9], 1024, 4096),
        );
        let (mut own, mut others) = (0, 0);
        for key in 0..10_000_u64 {
            let hash = TextHash::of(0, format_args!("key-{key}"));
            match (at(&before, hash), at(&after, hash)) {
                (Some(9), _) => own += 1,
                // The nine have 114 places each where they had 103: some keys find a new one.
                (was, is) => others += usize::from(was != is),
            }
        }
        eprintln!("of 10,000 keys {own} were its own, {others} of others moved");
        assert!(
            (700..1300).contains(&own) && others < 1000,
            "{own} {others}"
        );
    }
}
