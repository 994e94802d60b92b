use super::balancer::{Ask, Pick};
use super::bounded_load;
use super::consistent::Consistent;
use super::group::Group;
use super::panic::Count;
use super::{Availability, EndpointSet};
use crate::policy::model::{Algorithm, BalancePolicy};
use crate::sync::atomic::AtomicU64;

/// Random or successive members looked at before every one is.
const TRIES: usize = 16;
/// Steps along a table of hashes before every member is looked at.
const STEPS: usize = 1024;

/// Who may be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Candidates {
    Available,
    /// Ejected ones too: in panic the evidence against them is not worth overrunning the others.
    Reachable,
    /// Even those that refuse connections.
    All,
}

/// One pick.
pub(super) struct Round<'a> {
    pub(super) policy: &'a BalancePolicy,
    pub(super) set: &'a EndpointSet,
    pub(super) ask: &'a Ask<'a>,
    pub(super) turn: &'a AtomicU64,
    pub(super) candidates: Candidates,
    pub(super) table: Option<&'a Consistent>,
}

/// A position in the set, and whether this call is its probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Picked {
    pub(super) index: usize,
    pub(super) probe: bool,
}

// === impl Picked ===

impl Picked {
    fn new(index: usize) -> Self {
        Self {
            index,
            probe: false,
        }
    }

    fn probe(index: usize) -> Self {
        Self { index, probe: true }
    }

    pub(super) fn of(self, panic: bool) -> Pick {
        Pick {
            index: self.index,
            panic,
            probe: self.probe,
        }
    }
}

// === impl Round ===

impl Round<'_> {
    /// A member of `group`.
    pub(super) fn pick(
        &self,
        group: &Group,
        count: Count,
        rng: &mut fastrand::Rng,
    ) -> Option<Picked> {
        if group.len() == 0 {
            return None;
        }
        match self.policy.algorithm() {
            Algorithm::PeakEwma => self.least_of_few(group, rng, Group::sample, |one, two| {
                self.latency_cost(two) < self.latency_cost(one)
            }),
            Algorithm::LeastRequest => self.least_requests(group, rng),
            Algorithm::RoundRobin => self.first(group, rng, |_| group.stride.next(self.turn)),
            Algorithm::ClientWeighted => {
                let stride = group.measured.as_ref().unwrap_or(&group.stride);
                self.first(group, rng, |_| stride.next(self.turn))
            }
            Algorithm::Random => self.first(group, rng, |rng| Some(group.sample_by_weight(rng))),
            Algorithm::RingHash | Algorithm::Maglev => match self.table {
                Some(table) => self.by_hash(table, group, count, rng),
                None => self.first(group, rng, |rng| Some(group.sample_by_weight(rng))),
            },
        }
    }

    /// This position, if it may be picked.
    pub(super) fn exactly(&self, index: usize) -> Option<Picked> {
        match self.candidate(index, true)? {
            true => self.claimed(index).then(|| Picked::probe(index)),
            false => Some(Picked::new(index)),
        }
    }

    /// Whether a position may be picked; `Some(true)` if it needs to be claimed. `takes`: an
    /// endpoint of weight 0 may be.
    fn candidate(&self, index: usize, takes: bool) -> Option<bool> {
        let endpoint = self.set.get(index)?;
        if self.ask.exclude.contains(&index) || !(takes || endpoint.info().weight > 0) {
            return None;
        }
        match endpoint.availability(self.ask.now) {
            Availability::Ready => Some(false),
            Availability::Due => Some(true),
            Availability::Down => match self.candidates {
                Candidates::Available => None,
                Candidates::Reachable => endpoint.is_reachable().then_some(false),
                Candidates::All => Some(false),
            },
        }
    }

    /// Whether a probe was taken at an endpoint that is due. In panic a lost race does not matter.
    fn claimed(&self, index: usize) -> bool {
        self.set.get(index).is_some_and(|e| e.claim(self.ask.now))
    }

    /// An endpoint that warms up is passed over with the part of its share that it lacks.
    fn is_warm(&self, index: usize, rng: &mut fastrand::Rng) -> bool {
        self.set.get(index).is_none_or(|e| {
            let warmup = e.warmup(self.policy, self.ask.now);
            warmup >= 1.0 || rng.f32() < warmup
        })
    }

    /// The first candidate that `next` names.
    fn first(
        &self,
        group: &Group,
        rng: &mut fastrand::Rng,
        mut next: impl FnMut(&mut fastrand::Rng) -> Option<usize>,
    ) -> Option<Picked> {
        let zero = group.weights.takes(0);
        for _ in 0..TRIES.max(group.len().min(64)) {
            let index = group.at(next(rng)?);
            match self.candidate(index, zero) {
                Some(true) if self.claimed(index) => return Some(Picked::probe(index)),
                Some(false) if self.is_warm(index, rng) => return Some(Picked::new(index)),
                _ => {}
            }
        }
        self.scan(group, rng, None)
    }

    /// Of a few candidates at random the one that is the best: `better(one, two)` says that `two`
    /// is. One that is due for a probe is taken at once: its old cost says nothing.
    ///
    /// An endpoint that warms up takes part as often as its share says, and is then compared as it
    /// is. As a divisor the share would decide at low load: ten times the cost never wins.
    pub(super) fn least_of_few(
        &self,
        group: &Group,
        rng: &mut fastrand::Rng,
        sample: impl Fn(&Group, &mut fastrand::Rng) -> usize,
        better: impl Fn(usize, usize) -> bool,
    ) -> Option<Picked> {
        let mut best = self.sample(group, rng, None, &sample)?;
        let mut warm = self.is_warm(best.index, rng);
        for _ in 1..self.policy.choices().max(2) {
            if best.probe {
                break;
            }
            let Some(other) = self.sample(group, rng, Some(best.index), &sample) else {
                break;
            };
            let takes_part = other.probe || self.is_warm(other.index, rng);
            let wins = match (warm, takes_part) {
                (true, false) => false,
                (false, true) => true,
                _ => better(best.index, other.index),
            };
            if other.probe || wins {
                (best, warm) = (other, takes_part);
            }
        }
        Some(best)
    }

    fn sample(
        &self,
        group: &Group,
        rng: &mut fastrand::Rng,
        but: Option<usize>,
        sample: &impl Fn(&Group, &mut fastrand::Rng) -> usize,
    ) -> Option<Picked> {
        // Not drawn again and again: the only member is the one that is left out.
        if but.is_some() && group.len() == 1 {
            return None;
        }
        let zero = group.weights.takes(0);
        for _ in 0..TRIES {
            let index = group.at(sample(group, rng));
            if Some(index) == but {
                continue;
            }
            match self.candidate(index, zero) {
                Some(true) if self.claimed(index) => return Some(Picked::probe(index)),
                Some(false) => return Some(Picked::new(index)),
                _ => {}
            }
        }
        self.scan(group, rng, but)
    }

    /// Looks at every member, from a random one on.
    fn scan(&self, group: &Group, rng: &mut fastrand::Rng, but: Option<usize>) -> Option<Picked> {
        let zero = group.weights.takes(0);
        let len = group.len();
        let start = rng.usize(..len.max(1));
        (0..len)
            .map(|offset| group.at((start + offset) % len))
            .filter(|index| Some(*index) != but)
            .find_map(|index| match self.candidate(index, zero)? {
                true => self.claimed(index).then(|| Picked::probe(index)),
                false => Some(Picked::new(index)),
            })
    }

    /// Whoever the table has for the hash of the request, or who comes next.
    fn by_hash(
        &self,
        table: &Consistent,
        group: &Group,
        count: Count,
        rng: &mut fastrand::Rng,
    ) -> Option<Picked> {
        // No part of the request that is hashed is there: any endpoint (A42).
        let hash = self.ask.hash.unwrap_or_else(|| rng.u64(..));
        let zero = group.weights.takes(0);
        let percent = self.policy.bounded_load_percent();
        let in_flight = self.set.in_flight();
        // What is not available carries nothing.
        let each = |weight: u32| if zero { weight.max(1) } else { weight };
        let total = group.weights.total().max(group.len() as u64);
        let total = total * count.available as u64 / (count.total as u64).max(1);
        let mut least: Option<(f32, usize)> = None;
        let mut last = usize::MAX;
        let found = table.find(hash, STEPS.max(4 * group.len()), |member| {
            if member == last {
                return None;
            }
            last = member;
            let index = group.at(member);
            match self.candidate(index, zero)? {
                true => self.claimed(index).then(|| Picked::probe(index)),
                false if percent == 0 => Some(Picked::new(index)),
                false => {
                    let endpoint = self.set.get(index)?;
                    let weight = each(endpoint.info().weight);
                    let limit = bounded_load::limit(in_flight, percent, weight, total);
                    let load = (endpoint.in_flight() as f32 + 1.0) / limit as f32;
                    if load <= 1.0 {
                        return Some(Picked::new(index));
                    }
                    if least.is_none_or(|(least, _)| load < least) {
                        least = Some((load, index));
                    }
                    None
                }
            }
        });
        found
            .or_else(|| least.map(|(_, index)| Picked::new(index)))
            .or_else(|| self.scan(group, rng, None))
    }
}
