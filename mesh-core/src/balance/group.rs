use std::sync::Arc;
use std::time::Instant;

use super::aperture::{Arc as Aperture, Coordinate, Width};
use super::panic::Count;
use super::random::Weights;
use super::round_robin::Stride;
use super::{EndpointInfo, EndpointState};
use crate::clock;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Up to this many endpoints in a set, available ones are counted at each pick.
const COUNT_EACH_TIME: usize = 32;
/// Above it, a count serves all picks of this many milliseconds.
const COUNT_FOR_MS: u64 = 20;
const COUNT_BITS: u32 = 24;

/// Endpoints among which a pick is made: those of a set, or of one priority in one zone of it.
#[derive(Debug)]
pub(super) struct Group {
    members: Members,
    pub(super) weights: Weights,
    /// Turns by configured weight.
    pub(super) stride: Stride,
    /// Turns by measured weight, when the policy asks for them.
    pub(super) measured: Option<Stride>,
    pub(super) arc: Option<ApertureOf>,
    /// Time and number of the last count of available endpoints.
    counted: AtomicU64,
}

#[derive(Debug)]
enum Members {
    All(usize),
    /// Positions in the set.
    Some(Box<[u32]>),
}

/// The part of a group that this client uses.
#[derive(Debug)]
pub(super) struct ApertureOf {
    pub(super) coordinate: Coordinate,
    pub(super) width: Arc<Width>,
    /// Fewest endpoints.
    pub(super) least: u32,
}

// === impl Group ===

impl Group {
    /// All endpoints of a set.
    pub(super) fn all(endpoints: &[Arc<EndpointState>]) -> Self {
        Self::new(endpoints, Members::All(endpoints.len()))
    }

    /// The endpoints at these positions of a set.
    pub(super) fn some(endpoints: &[Arc<EndpointState>], members: Vec<u32>) -> Self {
        Self::new(endpoints, Members::Some(members.into()))
    }

    fn new(endpoints: &[Arc<EndpointState>], members: Members) -> Self {
        let weights = (0..members.len()).map(|at| {
            let endpoint = endpoints.get(members.at(at));
            endpoint.map_or(0, |e| e.info().weight)
        });
        Self {
            weights: Weights::new(weights.clone()),
            stride: Stride::new(weights),
            members,
            measured: None,
            arc: None,
            counted: AtomicU64::new(0),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// The position in the set of a position in the group.
    pub(super) fn at(&self, member: usize) -> usize {
        self.members.at(member)
    }

    /// The positions in the set.
    pub(super) fn positions(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.len()).map(|member| self.at(member))
    }

    pub(super) fn infos<'a>(
        &'a self,
        endpoints: &'a [Arc<EndpointState>],
    ) -> impl Iterator<Item = &'a EndpointInfo> {
        let states = self.positions().filter_map(|at| endpoints.get(at));
        states.map(|state| state.info())
    }

    /// How many are available at `now`. Above 32 endpoints in the set the answer may be 20 ms old.
    pub(super) fn count(&self, endpoints: &[Arc<EndpointState>], now: Instant) -> Count {
        let total = self.len();
        let count = || {
            let states = self.positions().filter_map(|at| endpoints.get(at));
            states.filter(|state| state.is_available(now)).count()
        };
        if endpoints.len() <= COUNT_EACH_TIME {
            let available = count();
            return Count { available, total };
        }
        let at = clock::millis(now);
        let last = self.counted.load(Relaxed);
        let (counted_at, number) = (last >> COUNT_BITS, last & ((1 << COUNT_BITS) - 1));
        if at.saturating_sub(counted_at) < COUNT_FOR_MS {
            let available = number as usize;
            return Count { available, total };
        }
        let available = count();
        let packed = at << COUNT_BITS | (available as u64).min((1 << COUNT_BITS) - 1);
        self.counted.store(packed, Relaxed);
        Count { available, total }
    }

    /// A member at random; only those that this client uses, where that is limited.
    pub(super) fn sample(&self, rng: &mut fastrand::Rng) -> usize {
        match &self.arc {
            None => rng.usize(..self.len().max(1)),
            Some(arc) => arc.get(self.len()).sample(self.len(), rng),
        }
    }

    /// The same by weight.
    pub(super) fn sample_by_weight(&self, rng: &mut fastrand::Rng) -> usize {
        match &self.arc {
            Some(_) => self.sample(rng),
            None => self.weights.sample(rng),
        }
    }

    /// Looks at the load, for the width of the aperture.
    pub(super) fn observe(&self, endpoints: &[Arc<EndpointState>], now: Instant) {
        let Some(arc) = &self.arc else { return };
        let in_flight = self.positions().filter_map(|at| endpoints.get(at));
        let in_flight = in_flight.fold(0_u32, |sum, e| sum.saturating_add(e.in_flight()));
        let (mut covered, mut available) = (0, 0);
        for member in arc.get(self.len()).covered(self.len()) {
            covered += 1;
            let endpoint = endpoints.get(self.at(member));
            available += usize::from(endpoint.is_some_and(|e| e.is_available(now)));
        }
        arc.width
            .observe(in_flight, covered, available, arc.least, now);
    }
}

// === impl ApertureOf ===

impl ApertureOf {
    pub(super) fn get(&self, total: usize) -> Aperture {
        Aperture::new(self.coordinate, self.width.get(self.least), total)
    }
}

// === impl Members ===

impl Members {
    fn len(&self) -> usize {
        match self {
            Self::All(number) => *number,
            Self::Some(members) => members.len(),
        }
    }

    fn at(&self, member: usize) -> usize {
        match self {
            Self::All(_) => member,
            Self::Some(members) => members.get(member).map_or(usize::MAX, |at| *at as usize),
        }
    }
}
