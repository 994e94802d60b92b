use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::set::Weights;
use super::{Availability, EndpointSet, EndpointState, Outcome};
use crate::policy::BalancePolicy;
use crate::policy::model::Algorithm;

/// Random or successive positions looked at before every one is.
const TRIES: usize = 16;

/// Picks endpoints by a policy. No lock, no allocation.
#[derive(Debug)]
pub struct Balancer {
    policy: BalancePolicy,
    ticket: AtomicU64,
}

/// What was picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Position in the set.
    pub index: usize,
    /// Too few endpoints were available, so all were candidates.
    pub panic: bool,
    /// This call decides whether the endpoint comes back: the endpoint was ejected or unreachable.
    pub probe: bool,
}

/// Who may be picked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Candidates {
    Available,
    /// Ejected ones too: in panic the evidence against them is not worth overrunning the others.
    Reachable,
    /// Even those that refuse connections.
    All,
}

struct Round<'a> {
    policy: &'a BalancePolicy,
    set: &'a EndpointSet,
    now: Instant,
    exclude: &'a [usize],
    candidates: Candidates,
}

// === impl Balancer ===

impl Balancer {
    /// A balancer by `policy`.
    pub fn new(policy: &BalancePolicy) -> Self {
        Self {
            policy: *policy,
            ticket: AtomicU64::new(0),
        }
    }

    /// The policy.
    pub fn policy(&self) -> &BalancePolicy {
        &self.policy
    }

    /// The position of the endpoint for a call at `now`. `exclude` holds the positions that were
    /// tried already. `None` only for an empty set, when all are excluded, or when panic is off and
    /// nothing is available.
    pub fn pick(
        &self,
        set: &EndpointSet,
        now: Instant,
        exclude: &[usize],
        rng: &mut fastrand::Rng,
    ) -> Option<usize> {
        self.choose(set, now, exclude, rng).map(|pick| pick.index)
    }

    /// [`Balancer::pick`] with how it came about.
    pub fn choose(
        &self,
        set: &EndpointSet,
        now: Instant,
        exclude: &[usize],
        rng: &mut fastrand::Rng,
    ) -> Option<Pick> {
        let percent = self.policy.panic_percent() as usize;
        let panic = set.available(now) * 100 < set.len() * percent;
        let mut round = Round {
            policy: &self.policy,
            set,
            now,
            exclude,
            candidates: if panic {
                Candidates::Reachable
            } else {
                Candidates::Available
            },
        };
        let mut picked = self.pick_in(&round, rng);
        if picked.is_none() && percent > 0 {
            // Every available endpoint was tried. One that is not is better than none, and one that
            // refuses connections comes last: that costs the call an attempt for nothing.
            for candidates in [Candidates::Reachable, Candidates::All] {
                round.candidates = candidates;
                picked = picked.or_else(|| self.pick_in(&round, rng));
            }
        }
        picked.map(|(index, probe)| Pick {
            index,
            panic,
            probe,
        })
    }

    /// Records how a call at `state` ended, with this policy's decay and penalty.
    pub fn record(&self, state: &EndpointState, rtt: Duration, outcome: Outcome, now: Instant) {
        state.record_with(&self.policy, rtt, outcome, now);
    }

    fn pick_in(&self, round: &Round<'_>, rng: &mut fastrand::Rng) -> Option<(usize, bool)> {
        match self.policy.algorithm() {
            Algorithm::RoundRobin | Algorithm::ClientWeighted => {
                round.first(|| self.take_ticket(round.set), rng)
            }
            Algorithm::Random => round.first(|| None, rng),
            Algorithm::LeastRequest => round.better_of_two(rng, EndpointState::calls_for_weight),
            Algorithm::PeakEwma | Algorithm::RingHash | Algorithm::Maglev => {
                round.better_of_two(rng, |e| e.cost(round.policy, round.now))
            }
        }
    }

    fn take_ticket(&self, set: &EndpointSet) -> Option<usize> {
        let ticket = self.ticket.fetch_add(1, Relaxed);
        match set.weights() {
            Weights::Equal => (ticket % (set.len() as u64).max(1)).try_into().ok(),
            Weights::Sums { sums, total, step } => {
                let at = (u128::from(ticket) * u128::from(*step)) % u128::from((*total).max(1));
                Some(sums.partition_point(|sum| u128::from(*sum) <= at))
            }
        }
    }
}

// === impl Round ===

impl Round<'_> {
    /// Whether position `index` may be picked; `Some(true)` if it needs to be claimed.
    fn candidate(&self, index: usize) -> Option<bool> {
        let endpoint = self.set.get(index)?;
        if self.exclude.contains(&index) || !self.set.weights().takes(endpoint.info().weight) {
            return None;
        }
        match endpoint.availability(self.now) {
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
        self.set.get(index).is_some_and(|e| e.claim(self.now))
    }

    /// A candidate by weight: where `ticket` points or, if it says nothing, at random.
    fn first(
        &self,
        mut ticket: impl FnMut() -> Option<usize>,
        rng: &mut fastrand::Rng,
    ) -> Option<(usize, bool)> {
        let len = self.set.len();
        if len == 0 {
            return None;
        }
        for _ in 0..TRIES.max(len.min(64)) {
            let index = ticket().unwrap_or_else(|| self.by_weight(rng));
            match self.candidate(index) {
                Some(true) if self.claimed(index) => return Some((index, true)),
                Some(false) if self.is_warm(index, rng) => return Some((index, false)),
                _ => {}
            }
        }
        self.scan(rng, None)
    }

    fn by_weight(&self, rng: &mut fastrand::Rng) -> usize {
        match self.set.weights() {
            Weights::Equal => rng.usize(..self.set.len().max(1)),
            Weights::Sums { sums, total, .. } => {
                let at = rng.u64(..(*total).max(1));
                sums.partition_point(|sum| *sum <= at)
            }
        }
    }

    /// An endpoint that warms up is passed over with the part of its share that it lacks.
    fn is_warm(&self, index: usize, rng: &mut fastrand::Rng) -> bool {
        self.set.get(index).is_none_or(|e| {
            let warmup = e.warmup(self.policy, self.now);
            warmup >= 1.0 || rng.f32() < warmup
        })
    }

    /// Two distinct candidates at random, and of these the one that costs less. One that is due for
    /// a probe is taken at once: its old cost says nothing.
    fn better_of_two(
        &self,
        rng: &mut fastrand::Rng,
        cost: impl Fn(&EndpointState) -> f32,
    ) -> Option<(usize, bool)> {
        let (one, probe) = self.sample(rng, None)?;
        if probe {
            return Some((one, true));
        }
        let Some((two, probe)) = self.sample(rng, Some(one)) else {
            return Some((one, false));
        };
        if probe {
            return Some((two, true));
        }
        // An endpoint that warms up takes part as often as its share says, and is then compared as
        // it is. As a divisor the share would decide at low load: ten times the cost never wins.
        let better = match (self.is_warm(one, rng), self.is_warm(two, rng)) {
            (true, false) => one,
            (false, true) => two,
            _ => {
                let cost = |index: usize| self.set.get(index).map_or(f32::MAX, |e| cost(e));
                if cost(two) < cost(one) { two } else { one }
            }
        };
        Some((better, false))
    }

    fn sample(&self, rng: &mut fastrand::Rng, but: Option<usize>) -> Option<(usize, bool)> {
        let len = self.set.len();
        if len == 0 {
            return None;
        }
        for _ in 0..TRIES {
            let index = rng.usize(..len);
            if Some(index) == but {
                continue;
            }
            match self.candidate(index) {
                Some(true) if self.claimed(index) => return Some((index, true)),
                Some(false) => return Some((index, false)),
                _ => {}
            }
        }
        self.scan(rng, but)
    }

    /// Looks at every position, from a random one on.
    fn scan(&self, rng: &mut fastrand::Rng, but: Option<usize>) -> Option<(usize, bool)> {
        let len = self.set.len();
        let start = rng.usize(..len.max(1));
        (0..len)
            .map(|offset| (start + offset) % len)
            .filter(|index| Some(*index) != but)
            .find_map(|index| match self.candidate(index)? {
                true => self.claimed(index).then_some((index, true)),
                false => Some((index, false)),
            })
    }
}
