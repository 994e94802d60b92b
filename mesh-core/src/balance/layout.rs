use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::aperture::{Coordinate, Width};
use super::consistent::Consistent;
use super::group::{ApertureOf, Group};
use super::hash::stable_id;
use super::locality::{MAX_ZONES, Shares, Zone};
use super::panic::{Count, MAX_PRIORITIES};
use super::round_robin::Stride;
use super::{EndpointInfo, EndpointSet, EndpointState, Plan};
use crate::policy::model::{Algorithm, BalancePolicy, LocalityPolicy};

/// Shares of callers, in 1/10,000.
const WHOLE: u64 = 10_000;

/// The tables of a set under a policy, built when either changes and never at a pick.
#[derive(Debug)]
pub(super) struct Layout {
    /// What it was built for.
    endpoints: Arc<[Arc<EndpointState>]>,
    /// By priority, first one first; never empty but for an empty set.
    tiers: Box<[Tier]>,
    /// Tier and group of each position in the set.
    places: Box<[(u8, u8)]>,
}

/// The endpoints of one priority.
#[derive(Debug)]
pub(super) struct Tier {
    /// One for all of them, or one for each zone.
    pub(super) groups: Box<[Group]>,
    /// Of each group: which zone it is, and what share of the callers is there.
    zones: Box<[(Arc<str>, u32)]>,
    /// The group of our own zone, if zones are told apart.
    own: Option<usize>,
    pub(super) table: Option<Arc<Consistent>>,
    rank: Rank,
}

/// Priority as it was given, and then whether it is another region than ours.
type Rank = (u32, bool);

// === impl Layout ===

impl Layout {
    pub(super) fn new(plan: &Plan<'_>, set: &EndpointSet, previous: Option<&Self>) -> Self {
        let endpoints = set.endpoints().clone();
        let mut tiers: BTreeMap<Rank, Vec<u32>> = BTreeMap::new();
        for (endpoint, at) in endpoints.iter().zip(0_u32..) {
            tiers
                .entry(rank(endpoint.info(), plan))
                .or_default()
                .push(at);
        }
        if !plan.locality.failover() {
            while tiers.len() > 1 {
                tiers.pop_last();
            }
        }
        // What is too many goes with the last that there is room for.
        while tiers.len() > MAX_PRIORITIES {
            if let (Some((_, last)), Some(mut before)) = (tiers.pop_last(), tiers.last_entry()) {
                before.get_mut().extend(last);
            }
        }
        let tiers: Box<[Tier]> = tiers
            .into_iter()
            .map(|(rank, members)| Tier::new(plan, &endpoints, rank, members, previous))
            .collect();
        let mut places = vec![(u8::MAX, u8::MAX); endpoints.len()];
        for (tier, tier_at) in tiers.iter().zip(0..) {
            for (group, group_at) in tier.groups.iter().zip(0..) {
                for position in group.positions() {
                    if let Some(place) = places.get_mut(position) {
                        *place = (tier_at, group_at);
                    }
                }
            }
        }
        Self {
            endpoints,
            tiers,
            places: places.into(),
        }
    }

    /// How many of these positions are in a tier and, if one is given, in that group of it.
    pub(super) fn tried(&self, exclude: &[usize], tier: usize, group: Option<usize>) -> usize {
        let place = |position: &&usize| match self.places.get(**position) {
            Some((t, g)) => usize::from(*t) == tier && group.is_none_or(|at| usize::from(*g) == at),
            None => false,
        };
        exclude.iter().filter(place).count()
    }

    /// Whether it was built for `set`.
    pub(super) fn is_for(&self, set: &EndpointSet) -> bool {
        Arc::ptr_eq(&self.endpoints, set.endpoints())
    }

    pub(super) fn tiers(&self) -> &[Tier] {
        &self.tiers
    }

    /// The only group, if there is but one.
    pub(super) fn single(&self) -> Option<(&Tier, &Group)> {
        match &*self.tiers {
            [tier] => match &*tier.groups {
                [group] => Some((tier, group)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Sets measured weights and widths anew.
    pub(super) fn refresh(&self, policy: &BalancePolicy, now: Instant) {
        let mut weights = Vec::new();
        for group in self.tiers.iter().flat_map(|tier| &tier.groups) {
            group.observe(&self.endpoints, now);
            if let Some(stride) = &group.measured {
                let states = group.positions().filter_map(|at| self.endpoints.get(at));
                weights.clear();
                weights.extend(states.map(|state| state.reported().by(policy, now)));
                stride.set(&weights);
            }
        }
    }
}

/// Where an endpoint stands in the order of priorities.
fn rank(info: &EndpointInfo, plan: &Plan<'_>) -> Rank {
    let ours = plan.place.zone.as_deref().and_then(region);
    let theirs = info.zone.as_deref().and_then(region);
    let elsewhere = match (ours, theirs) {
        (Some(ours), Some(theirs)) => ours != theirs,
        _ => false,
    };
    (info.priority, elsewhere && plan.locality.failover())
}

/// `eu` of `eu/a`; a zone alone says nothing about its region.
fn region(zone: &str) -> Option<&str> {
    zone.split_once('/').map(|(region, _)| region)
}

/// `eu/a` of `eu/a/rack-7`.
fn zone(zone: &str) -> &str {
    match zone.match_indices('/').nth(1) {
        Some((end, _)) => &zone[..end],
        None => zone,
    }
}

// === impl Tier ===

impl Tier {
    fn new(
        plan: &Plan<'_>,
        endpoints: &Arc<[Arc<EndpointState>]>,
        rank: Rank,
        members: Vec<u32>,
        previous: Option<&Layout>,
    ) -> Self {
        let earlier = previous.and_then(|layout| layout.tiers.iter().find(|t| t.rank == rank));
        let zones = zones(plan, endpoints, &members);
        let own = plan.place.zone.as_deref().map(zone);
        let own = own.and_then(|own| zones.iter().position(|(name, _)| **name == *own));
        let mut tier = Self {
            groups: Box::default(),
            zones: Box::default(),
            own,
            table: None,
            rank,
        };
        if zones.is_empty() {
            tier.groups = [tier.group(plan, endpoints, members, None, earlier)].into();
        } else {
            let mut of_zone = vec![Vec::new(); zones.len()];
            for at in members {
                let name = endpoints
                    .get(at as usize)
                    .and_then(|e| e.info().zone.as_deref());
                let index = zones
                    .iter()
                    .position(|(known, _)| **known == *zone(name.unwrap_or("")));
                // Zones beyond the most that are told apart are the last one.
                if let Some(members) = of_zone.get_mut(index.unwrap_or(zones.len() - 1)) {
                    members.push(at);
                }
            }
            tier.groups = zones
                .iter()
                .zip(of_zone)
                .map(|((name, _), members)| {
                    tier.group(plan, endpoints, members, Some(name), earlier)
                })
                .collect();
        }
        tier.zones = zones.into();
        if let [group] = &*tier.groups {
            let infos: Vec<_> = group.infos(endpoints).map(|i| (i.addr, i.weight)).collect();
            let known = previous.into_iter().flat_map(|layout| &layout.tiers);
            let known = known.filter_map(|tier| tier.table.clone());
            tier.table = Consistent::new(plan.balance, &infos, known);
        }
        tier
    }

    fn group(
        &self,
        plan: &Plan<'_>,
        endpoints: &Arc<[Arc<EndpointState>]>,
        mut members: Vec<u32>,
        zone: Option<&Arc<str>>,
        earlier: Option<&Tier>,
    ) -> Group {
        let policy = plan.balance;
        let above = policy.aperture_above() as usize;
        let least = policy.aperture_min();
        let samples = matches!(
            policy.algorithm(),
            Algorithm::PeakEwma | Algorithm::LeastRequest | Algorithm::Random
        );
        let narrow = samples && above > 0 && endpoints.len() > above;
        let narrow = narrow && members.len() > least as usize;
        if narrow {
            // The order on the ring, which all clients have to agree on.
            let id = |at: &u32| endpoints.get(*at as usize).map(|e| stable_id(e.info()));
            members.sort_by_cached_key(id);
        }
        let mut group = match members.len() == endpoints.len() && !narrow {
            true => Group::all(endpoints),
            false => Group::some(endpoints, members),
        };
        if narrow {
            let width = earlier.and_then(|tier| tier.width_of(zone));
            group.arc = Some(ApertureOf {
                coordinate: match plan.place.peer {
                    Some((index, peers)) => Coordinate::Peer { index, peers },
                    None => Coordinate::Random {
                        seed: plan.place.seed,
                    },
                },
                width: width.unwrap_or_else(|| Arc::new(Width::default())),
                least,
            });
        }
        if policy.algorithm() == Algorithm::ClientWeighted {
            group.measured = Some(Stride::measured(group.len()));
        }
        group
    }

    fn width_of(&self, zone: Option<&Arc<str>>) -> Option<Arc<Width>> {
        let at = match zone {
            None => Some(0),
            Some(zone) => self.zones.iter().position(|(name, _)| name == zone),
        };
        let arc = self.groups.get(at?)?.arc.as_ref()?;
        Some(arc.width.clone())
    }

    pub(super) fn count(&self, endpoints: &[Arc<EndpointState>], now: Instant) -> Count {
        let counts = self.groups.iter().map(|group| group.count(endpoints, now));
        counts.fold(Count::default(), std::ops::Add::add)
    }

    /// The group that a call goes to. `panic`: whatever is available.
    pub(super) fn choose(
        &self,
        policy: &LocalityPolicy,
        endpoints: &[Arc<EndpointState>],
        panic: bool,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> usize {
        if self.groups.len() < 2 {
            return 0;
        }
        let mut zones = [Zone::default(); MAX_ZONES];
        for ((zone, group), (_, callers)) in zones.iter_mut().zip(&self.groups).zip(&self.zones) {
            let mut count = group.count(endpoints, now);
            if panic {
                count.available = count.total;
            }
            *zone = Zone {
                weight: group.weights.total(),
                count,
                callers: *callers,
            };
        }
        let zones = zones.get_mut(..self.groups.len()).unwrap_or_default();
        if zones.iter().all(|zone| zone.weight == 0) {
            // A weight of 0 counts only beside others.
            zones
                .iter_mut()
                .for_each(|zone| zone.weight = zone.count.total as u64);
        }
        let percent = policy.zone_routing_percent();
        let over = policy.overprovisioning_percent();
        let shares = match self.own {
            Some(own) if !panic && (percent >= 100 || rng.u32(..100) < percent) => {
                Shares::from_zone(own, zones, over)
            }
            _ => Shares::by_weight(zones, over),
        };
        shares.at(rng.u64(..)).or(self.own).unwrap_or(0)
    }
}

/// The zones to tell apart in a priority, with the share of the callers in each; none if it is not
/// done there.
fn zones(
    plan: &Plan<'_>,
    endpoints: &[Arc<EndpointState>],
    members: &[u32],
) -> Vec<(Arc<str>, u32)> {
    let Some(own) = plan.place.zone.as_deref().map(zone) else {
        return Vec::new();
    };
    let by_hash = matches!(
        plan.balance.algorithm(),
        Algorithm::RingHash | Algorithm::Maglev
    );
    let few = members.len() < plan.locality.zone_aware_min_endpoints() as usize;
    if by_hash || few || plan.locality.zone_routing_percent() == 0 {
        return Vec::new();
    }
    let infos = members.iter().filter_map(|at| endpoints.get(*at as usize));
    let mut names: BTreeMap<&str, u32> = BTreeMap::new();
    for state in infos {
        names.insert(zone(state.info().zone.as_deref().unwrap_or("")), 0);
    }
    if names.len() < 2 || !names.contains_key(own) {
        return Vec::new();
    }
    let mut callers: u64 = 0;
    for (name, number) in plan.place.callers.iter() {
        callers += u64::from(*number);
        if let Some(known) = names.get_mut(zone(name)) {
            *known += *number;
        }
    }
    // Nothing is known of callers, not even of this one: as many in each zone.
    if names.get(own).is_none_or(|number| *number == 0) {
        callers = names.len() as u64;
        names.values_mut().for_each(|number| *number = 1);
    }
    // The own one first: of too many, it is told apart.
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_by_key(|(name, _)| *name != own);
    names.truncate(MAX_ZONES);
    let share = |number: u32| (u64::from(number) * WHOLE / callers.max(1)) as u32;
    names
        .into_iter()
        .map(|(name, number)| (Arc::from(name), share(number)))
        .collect()
}
