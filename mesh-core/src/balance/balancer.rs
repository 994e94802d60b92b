use std::sync::Arc;
use std::time::{Duration, Instant};

use super::layout::{Layout, Tier};
use super::panic::{Count, Loads, MAX_PRIORITIES};
use super::pick::{Candidates, Picked, Round};
use super::{EndpointSet, EndpointState, Outcome, Plan};
use crate::policy::model::{Algorithm, BalancePolicy, LocalityPolicy};
use crate::sync::atomic::AtomicU64;

/// Picks endpoints by a policy. No lock, no allocation.
#[derive(Debug)]
pub struct Balancer {
    policy: BalancePolicy,
    locality: LocalityPolicy,
    layout: Option<Layout>,
    /// Goes on when the policy or the endpoints change.
    turn: Arc<AtomicU64>,
}

/// What a pick is made for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Ask<'a> {
    /// The time.
    pub now: Instant,
    /// Positions that were tried already.
    pub exclude: &'a [usize],
    /// The hash of the request; without one, ring hash and Maglev take any endpoint.
    pub hash: Option<u64>,
    /// The position to take while it is available (a session's); see [`EndpointSet::position`].
    pub prefer: Option<usize>,
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

// === impl Ask ===

impl<'a> Ask<'a> {
    /// For a first attempt at `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            now,
            exclude: &[],
            hash: None,
            prefer: None,
        }
    }

    /// The same after these positions were tried.
    #[must_use]
    pub fn excluding(mut self, exclude: &'a [usize]) -> Self {
        self.exclude = exclude;
        self
    }

    /// The same for a request of this hash.
    #[must_use]
    pub fn with_hash(mut self, hash: Option<u64>) -> Self {
        self.hash = hash;
        self
    }

    /// The same, at this position if it is available.
    #[must_use]
    pub fn preferring(mut self, prefer: Option<usize>) -> Self {
        self.prefer = prefer;
        self
    }
}

// === impl Balancer ===

impl Balancer {
    /// A balancer by `policy` for any set, without tables: it knows no zones, no priorities and no
    /// aperture, and what would go by hash or measured weight goes at random or in turn. See
    /// [`Balancer::prepared`].
    pub fn new(policy: &BalancePolicy) -> Self {
        Self {
            policy: *policy,
            locality: LocalityPolicy::default(),
            layout: None,
            turn: Arc::default(),
        }
    }

    /// A balancer with the tables for `set`. What `previous` had learnt (turns, widths, tables that
    /// are the same) is kept. Not for the request path.
    pub fn prepared(
        plan: &Plan<'_>,
        set: &EndpointSet,
        previous: Option<&Self>,
        now: Instant,
    ) -> Self {
        set.count_in_flight(plan.balance.bounded_load_percent() > 0);
        let earlier = previous.and_then(|previous| previous.layout.as_ref());
        let balancer = Self {
            policy: *plan.balance,
            locality: *plan.locality,
            layout: Some(Layout::new(plan, set, earlier)),
            turn: previous.map(|p| p.turn.clone()).unwrap_or_default(),
        };
        balancer.refresh(now);
        balancer
    }

    /// The policy.
    pub fn policy(&self) -> &BalancePolicy {
        &self.policy
    }

    /// Whether a pick looks at the hash of the request.
    pub fn goes_by_hash(&self) -> bool {
        matches!(
            self.policy.algorithm(),
            Algorithm::RingHash | Algorithm::Maglev
        )
    }

    /// Whether the load reports of endpoints count ([`EndpointState::report`]).
    pub fn goes_by_reports(&self) -> bool {
        self.policy.algorithm() == Algorithm::ClientWeighted
    }

    /// Takes weights and loads as they are at `now`. To be called every
    /// [`orca_period`](BalancePolicy::orca_period); not for the request path.
    pub fn refresh(&self, now: Instant) {
        if let Some(layout) = &self.layout {
            layout.refresh(&self.policy, now);
        }
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
        self.choose_for(set, &Ask::new(now).excluding(exclude), rng)
    }

    /// The endpoint for a call.
    pub fn choose_for(
        &self,
        set: &EndpointSet,
        ask: &Ask<'_>,
        rng: &mut fastrand::Rng,
    ) -> Option<Pick> {
        let mut round = Round {
            policy: &self.policy,
            set,
            ask,
            turn: &self.turn,
            candidates: Candidates::Available,
            table: None,
        };
        if let Some(preferred) = ask.prefer.and_then(|at| round.exactly(at)) {
            return Some(preferred.of(false));
        }
        let layout = self.layout.as_ref().filter(|layout| layout.is_for(set));
        let (table, group) = match layout {
            None => (None, set.whole()),
            Some(layout) => match layout.single() {
                Some((tier, group)) => (tier.table.as_deref(), group),
                None => return self.divided(layout, &mut round, rng),
            },
        };
        round.table = table;
        let percent = self.policy.panic_percent();
        let count = group.count(set.endpoints(), ask.now);
        let panic = count.is_below(percent);
        if panic && self.policy.fail_on_panic() {
            return None;
        }
        if panic {
            round.candidates = Candidates::Reachable;
        }
        let mut picked = round.pick(group, count, rng);
        if picked.is_none() && percent > 0 {
            // Every available endpoint was tried. One that is not is better than none, and one that
            // refuses connections comes last: that costs the call an attempt for nothing.
            for candidates in [Candidates::Reachable, Candidates::All] {
                round.candidates = candidates;
                picked = picked.or_else(|| round.pick(group, count, rng));
            }
        }
        picked.map(|picked| picked.of(panic))
    }

    /// The pick where endpoints have priorities or zones.
    fn divided<'a>(
        &self,
        layout: &'a Layout,
        round: &mut Round<'a>,
        rng: &mut fastrand::Rng,
    ) -> Option<Pick> {
        let endpoints = round.set.endpoints();
        let (now, percent) = (round.ask.now, self.policy.panic_percent());
        let tiers = layout.tiers();
        let mut counts = [Count::default(); MAX_PRIORITIES];
        for (count, tier) in counts.iter_mut().zip(tiers) {
            *count = tier.count(endpoints, now);
        }
        let counts = counts.get(..tiers.len())?;
        let over = self.locality.overprovisioning_percent();
        let loads = Loads::new(counts, over, percent);
        let by_hash = self.goes_by_hash().then_some(round.ask.hash).flatten();
        let point = by_hash.map_or_else(|| rng.u32(..100), |hash| (hash % 100) as u32);
        // Nothing is available and panic is off.
        let first = loads.at(point)?;
        let panic = loads.panics(*counts.get(first)?, percent);
        if panic && self.policy.fail_on_panic() {
            return None;
        }
        // The chosen one, then the others as they come. Where two attempts of the call have failed
        // already, the third looks elsewhere first.
        let tired = layout.tried(round.ask.exclude, first, None) >= 2;
        let others = (0..tiers.len()).filter(|at| *at != first);
        let (before, after) = match tired {
            true => (None, Some(first)),
            false => (Some(first), None),
        };
        for at in before.into_iter().chain(others).chain(after) {
            let (tier, count) = (tiers.get(at)?, *counts.get(at)?);
            let panic = loads.panics(count, percent);
            round.candidates = match panic {
                true => Candidates::Reachable,
                false => Candidates::Available,
            };
            if let Some(picked) = self.in_tier(layout, at, tier, round, panic, rng) {
                return Some(picked.of(panic));
            }
        }
        if percent == 0 {
            return None;
        }
        for candidates in [Candidates::Reachable, Candidates::All] {
            round.candidates = candidates;
            for (at, tier) in tiers.iter().enumerate() {
                if let Some(picked) = self.in_tier(layout, at, tier, round, true, rng) {
                    return Some(picked.of(panic));
                }
            }
        }
        None
    }

    fn in_tier<'a>(
        &self,
        layout: &'a Layout,
        tier_at: usize,
        tier: &'a Tier,
        round: &mut Round<'a>,
        panic: bool,
        rng: &mut fastrand::Rng,
    ) -> Option<Picked> {
        round.table = tier.table.as_deref();
        let endpoints = round.set.endpoints();
        let (now, exclude) = (round.ask.now, round.ask.exclude);
        let first = tier.choose(&self.locality, endpoints, panic, now, rng);
        let groups = tier.groups.len();
        // What made an attempt fail may be its zone: another attempt goes to another one.
        let tried = |at| layout.tried(exclude, tier_at, Some(at)) > 0;
        [false, true].into_iter().find_map(|again| {
            (0..groups).find_map(|offset| {
                let at = (first + offset) % groups;
                if tried(at) != again {
                    return None;
                }
                let group = tier.groups.get(at)?;
                round.pick(group, group.count(endpoints, now), rng)
            })
        })
    }

    #[cfg(test)]
    pub(super) fn shares_tables_with(&self, other: &Self) -> bool {
        let table = |balancer: &Self| {
            let layout = balancer.layout.as_ref()?;
            layout.tiers().first()?.table.clone()
        };
        match (table(self), table(other)) {
            (Some(one), Some(two)) => Arc::ptr_eq(&one, &two),
            _ => false,
        }
    }

    /// Records how a call at `state` ended, with this policy's decay and penalty.
    pub fn record(&self, state: &EndpointState, rtt: Duration, outcome: Outcome, now: Instant) {
        state.record_with(&self.policy, rtt, outcome, now);
    }
}
