//! Aperture (Finagle): with very many endpoints, each client uses an arc of them, so that not every
//! client holds connections to every endpoint.
//!
//! Endpoints and clients stand on a ring of length 1, endpoints in an order that all clients compute
//! alike. Client `i` of `n` begins at `i / n`. Its arc is a whole number of `1 / n`: laid over each
//! other, the arcs of all clients cover every point equally often, and an endpoint that lies in an
//! arc only in part is picked by that part. Until the control server has said who `i` and `n` are,
//! the arc begins where the client's seed says.
//!
//! How wide it is follows the load: calls in flight, smoothed over 15 s, are kept between 0.875 and
//! 1.125 for each endpoint of the arc, which never has fewer than the least number of *available*
//! ones. So an arc widens when its endpoints fail, before panic would be thought of.

use std::time::Instant;

use crate::clock;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Time constant of the load (Finagle).
const SMOOTHING_MS: f32 = 15_000.0;
/// The load of an endpoint is kept between these (Finagle).
const LOW: f32 = 0.875;
const HIGH: f32 = 1.125;

/// Where the arc begins, and how it is rounded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Coordinate {
    /// Client `index` of `peers`.
    Peer { index: u32, peers: u32 },
    /// By a seed that the client keeps.
    Random { seed: u64 },
}

/// How many endpoints the arc should hold; goes on when the endpoints change.
#[derive(Debug, Default)]
pub(super) struct Width {
    /// By load; 0 before the first look.
    endpoints: AtomicU32,
    /// And so many more for those that are not available.
    missing: AtomicU32,
    /// Calls in flight, an `f32`, and when that was, in ms modulo 2^32.
    load: AtomicU64,
}

/// An arc of a ring of endpoints.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Arc {
    start: f64,
    width: f64,
}

// === impl Width ===

impl Width {
    /// Looks at the load: `in_flight` calls at the endpoints of the group, of which `available` of
    /// the arc's `covered` ones can be used.
    pub(super) fn observe(
        &self,
        in_flight: u32,
        covered: usize,
        available: usize,
        least: u32,
        now: Instant,
    ) {
        let at = clock::millis(now) as u32;
        let before = self.load.load(Relaxed);
        let sample = in_flight as f32;
        let load = if before == 0 {
            sample
        } else {
            let passed = at.wrapping_sub(before as u32) as f32;
            let keep = (-passed / SMOOTHING_MS).exp();
            f32::from_bits((before >> 32) as u32) * keep + sample * (1.0 - keep)
        };
        let packed = u64::from(load.to_bits()) << 32 | u64::from(at.max(1));
        self.load.store(packed, Relaxed);
        let width = self.endpoints.load(Relaxed).max(least).max(1);
        let width = if load >= HIGH * width as f32 || load <= LOW * width as f32 {
            (load.ceil() as u32).max(least).max(1)
        } else {
            width
        };
        self.endpoints.store(width, Relaxed);
        let missing = covered.saturating_sub(available) as u32;
        self.missing.store(missing, Relaxed);
    }

    /// The endpoints that the arc should hold.
    pub(super) fn get(&self, least: u32) -> u32 {
        let by_load = self.endpoints.load(Relaxed).max(least).max(1);
        by_load.saturating_add(self.missing.load(Relaxed))
    }
}

// === impl Arc ===

impl Arc {
    /// The arc of a client that should hold at least `endpoints` of `total`.
    pub(super) fn new(coordinate: Coordinate, endpoints: u32, total: usize) -> Self {
        let wanted = f64::from(endpoints) / (total as f64).max(1.0);
        match coordinate {
            Coordinate::Peer { index, peers } if peers > 0 => {
                let unit = 1.0 / f64::from(peers);
                // A little less, so that rounding errors do not cost a whole unit.
                let units = (wanted / unit - 1e-9).ceil().max(1.0);
                Self {
                    start: f64::from(index % peers) * unit,
                    width: (units * unit).min(1.0),
                }
            }
            Coordinate::Peer { index, .. } => {
                Self::new(Coordinate::Random { seed: index.into() }, endpoints, total)
            }
            Coordinate::Random { seed } => Self {
                start: (seed >> 11) as f64 / (1_u64 << 53) as f64,
                width: wanted.min(1.0),
            },
        }
    }

    /// A position on the ring of `total` endpoints, at random: those that the arc covers in part
    /// come up by that part.
    pub(super) fn sample(&self, total: usize, rng: &mut fastrand::Rng) -> usize {
        self.at(rng.f64(), total)
    }

    fn at(&self, part: f64, total: usize) -> usize {
        let point = (self.start + self.width * part).fract();
        ((point * total as f64) as usize).min(total.saturating_sub(1))
    }

    /// Positions that the arc touches, in order.
    pub(super) fn covered(&self, total: usize) -> impl Iterator<Item = usize> {
        let first = self.start * total as f64;
        // What is touched by less than a rounding error is not.
        let last = (first + self.width * total as f64 - 1e-6).floor() as usize;
        let first = (first + 1e-6).floor() as usize;
        let number = (last.saturating_sub(first) + 1).min(total);
        (first..first + number).map(move |at| at % total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn peer(index: u32, peers: u32, endpoints: u32, total: usize) -> Arc {
        Arc::new(Coordinate::Peer { index, peers }, endpoints, total)
    }

    /// Load of each endpoint when all clients send the same.
    fn loads(peers: u32, endpoints: u32, total: usize) -> Vec<f64> {
        let mut loads = vec![0.0; total];
        let samples = 20_000;
        for index in 0..peers {
            let arc = peer(index, peers, endpoints, total);
            for sample in 0..samples {
                let part = (f64::from(sample) + 0.5) / f64::from(samples);
                loads[arc.at(part, total)] += 1.0 / f64::from(samples);
            }
        }
        let mean = f64::from(peers) / total as f64;
        loads.iter().map(|load| load / mean).collect()
    }

    #[test]
    fn finagle_deterministic_aperture_loads_all_endpoints_alike() {
        for (peers, endpoints, total) in [(7, 12, 100), (3, 12, 101), (40, 12, 150), (250, 13, 120)]
        {
            for load in loads(peers, endpoints, total) {
                assert!(
                    (load - 1.0).abs() < 0.01,
                    "{peers} clients, {total} endpoints: {load}"
                );
            }
        }
    }

    #[test]
    fn finagle_an_arc_is_a_whole_number_of_client_units() {
        // 12 of 120 endpoints is a tenth: 4 units of 1/40, or the 1/7 of one of 7 clients.
        let arc = peer(3, 40, 12, 120);
        assert!((arc.start - 0.075).abs() < 1e-12 && (arc.width - 0.1).abs() < 1e-12);
        assert_eq!(arc.covered(120).count(), 12);
        let arc = peer(2, 7, 12, 120);
        assert!((arc.width - 1.0 / 7.0).abs() < 1e-12);
        assert_eq!(peer(0, 1, 12, 120).covered(120).count(), 120);
        let around: Vec<_> = peer(39, 40, 12, 120).covered(120).collect();
        assert_eq!(around, [117, 118, 119, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn an_arc_by_seed_holds_what_it_should() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..100 {
            let arc = Arc::new(Coordinate::Random { seed: rng.u64(..) }, 12, 500);
            let covered: Vec<_> = arc.covered(500).collect();
            assert!((12..=13).contains(&covered.len()), "{arc:?}");
            assert!((0..100).all(|_| covered.contains(&arc.sample(500, &mut rng))));
        }
    }

    #[test]
    fn finagle_load_band_keeps_one_call_for_each_endpoint() {
        let start = Instant::now();
        let width = Width::default();
        assert_eq!(width.get(12), 12);
        let observe = |calls: u32, seconds: std::ops::Range<u64>| {
            for second in seconds {
                let now = start + Duration::from_secs(second);
                let arc = width.get(12) as usize;
                width.observe(calls, arc, arc, 12, now);
            }
            width.get(12)
        };
        assert_eq!(observe(5, 0..10), 12);
        // Within the band nothing moves: 13 < 12 x 1.125.
        assert_eq!(observe(13, 10..100), 12);
        let wide = observe(60, 100..200);
        assert!((53..=60).contains(&wide), "{wide}");
        // A second of silence is smoothed over, a quarter of a minute is not.
        assert_eq!(observe(0, 200..201), wide);
        assert!(observe(0, 201..215) < wide);
        assert_eq!(observe(0, 215..400), 12);
    }

    #[test]
    fn an_arc_widens_for_what_is_not_available() {
        let now = Instant::now();
        let width = Width::default();
        width.observe(0, 12, 5, 12, now);
        assert_eq!(width.get(12), 19);
        width.observe(0, 19, 12, 12, now);
        assert_eq!(width.get(12), 19);
        width.observe(0, 19, 19, 12, now);
        assert_eq!(width.get(12), 12);
    }
}
