//! Priorities and zones through whole picks.

use super::*;
use crate::policy::model::LocalityPolicy;

/// `(zone, priority)` of each endpoint.
fn placed(endpoints: &[(&str, u32)]) -> EndpointSet {
    EndpointSet::new(
        endpoints
            .iter()
            .zip(1..)
            .map(|((zone, priority), port)| EndpointInfo {
                zone: (!zone.is_empty()).then(|| Arc::from(*zone)),
                priority: *priority,
                ..info(port)
            }),
    )
}

fn times(number: usize, one: (&'static str, u32)) -> Vec<(&'static str, u32)> {
    vec![one; number]
}

struct Caller {
    balance: BalancePolicy,
    locality: LocalityPolicy,
    place: Place,
}

impl Caller {
    fn in_zone(zone: &str) -> Self {
        Self {
            balance: BalancePolicy::default(),
            locality: LocalityPolicy::default(),
            place: Place {
                zone: (!zone.is_empty()).then(|| Arc::from(zone)),
                ..Place::default()
            },
        }
    }

    fn balancer(&self, set: &EndpointSet, now: Instant) -> Balancer {
        let plan = Plan {
            balance: &self.balance,
            locality: &self.locality,
            place: &self.place,
        };
        Balancer::prepared(&plan, set, None, now)
    }

    /// Percent of 20,000 calls at the endpoints of each `(zone, priority)` named.
    fn percent<const N: usize>(
        &self,
        set: &EndpointSet,
        now: Instant,
        of: [(&str, u32); N],
    ) -> [u32; N] {
        let hits = shares(&self.balancer(set, now), set, now, 20_000, &[]);
        of.map(|(zone, priority)| {
            let here = |info: &EndpointInfo| {
                info.zone.as_deref().unwrap_or("") == zone && info.priority == priority
            };
            let hits: usize = set
                .iter()
                .zip(&hits)
                .filter(|(e, _)| here(e.info()))
                .map(|(_, n)| n)
                .sum();
            ((hits + 100) / 200) as u32
        })
    }
}

fn near<const N: usize>(seen: [u32; N], expected: [u32; N]) {
    let close = seen.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 1);
    assert!(close, "{seen:?}, not {expected:?}");
}

#[test]
fn envoy_priority_loads_by_picks() {
    let now = Instant::now();
    let mut all = times(10, ("", 0));
    all.extend(times(10, ("", 1)));
    let caller = Caller::in_zone("");
    for (out, expected) in [
        (0, [100, 0]),
        (2, [100, 0]),
        (5, [70, 30]),
        (8, [28, 72]),
        (10, [0, 100]),
    ] {
        let set = placed(&all);
        (0..out).for_each(|at| refuse(&set, at, now));
        near(caller.percent(&set, now, [("", 0), ("", 1)]), expected);
    }
}

#[test]
fn a_priority_that_fails_does_not_panic_while_another_can_serve() {
    let now = Instant::now();
    let set = placed(&[("", 0), ("", 0), ("", 0), ("", 0), ("", 1), ("", 1)]);
    let balancer = Caller::in_zone("").balancer(&set, now);
    let mut rng = fastrand::Rng::with_seed(1);
    (0..3).for_each(|at| refuse(&set, at, now));
    for _ in 0..1000 {
        let pick = balancer.choose(&set, now, &[], &mut rng).unwrap();
        assert!(!pick.panic && pick.index >= 3);
    }
    // The second priority fails too: all together are too few.
    refuse(&set, 4, now);
    refuse(&set, 5, now);
    let pick = balancer.choose(&set, now, &[], &mut rng).unwrap();
    assert!(pick.panic);
}

#[test]
fn without_failover_only_the_first_priority_takes_calls() {
    let now = Instant::now();
    let set = placed(&[("", 0), ("", 0), ("", 1), ("", 1)]);
    let mut caller = Caller::in_zone("");
    caller.locality = caller.locality.with_failover(false);
    refuse(&set, 0, now);
    refuse(&set, 1, now);
    near(caller.percent(&set, now, [("", 0), ("", 1)]), [100, 0]);
}

#[test]
fn another_region_takes_calls_only_as_far_as_ours_fails() {
    let now = Instant::now();
    let mut all = times(5, ("eu/a", 0));
    all.extend(times(5, ("us/a", 0)));
    let mut caller = Caller::in_zone("eu/b");
    let regions = [("eu/a", 0), ("us/a", 0)];
    let set = placed(&all);
    near(caller.percent(&set, now, regions), [100, 0]);
    (0..3).for_each(|at| refuse(&set, at, now));
    // 140 x 2 / 5.
    near(caller.percent(&set, now, regions), [56, 44]);
    caller.locality = caller.locality.with_failover(false);
    let set = placed(&all);
    near(caller.percent(&set, now, regions), [50, 50]);
}

#[test]
fn envoy_zone_aware_routing_by_picks() {
    let now = Instant::now();
    let zones = [("a", 0), ("b", 0), ("c", 0)];
    let mut caller = Caller::in_zone("a");
    // As many endpoints as callers in each zone: all stay.
    let even: Vec<_> = zones.iter().flat_map(|zone| times(3, *zone)).collect();
    near(caller.percent(&placed(&even), now, zones), [100, 0, 0]);
    // Envoy's small zone: 1/2/2 endpoints for callers 1/1/1.
    let mut small = times(2, zones[0]);
    small.extend(times(4, zones[1]));
    small.extend(times(4, zones[2]));
    near(caller.percent(&placed(&small), now, zones), [60, 20, 20]);
    // All callers are in this zone, so says the control server: every endpoint alike.
    let callers = [("a", 7)].map(|(zone, number)| (Arc::from(zone), number));
    caller.place.callers = Arc::new(callers.into_iter().collect());
    near(caller.percent(&placed(&small), now, zones), [20, 40, 40]);
}

#[test]
fn zones_are_left_alone_with_few_endpoints_or_when_turned_off() {
    let now = Instant::now();
    let zones = [("a", 0), ("b", 0)];
    let few = placed(&[("a", 0), ("b", 0), ("b", 0), ("a", 0), ("b", 0)]);
    near(Caller::in_zone("a").percent(&few, now, zones), [40, 60]);
    let mut all = times(5, zones[0]);
    all.extend(times(5, zones[1]));
    let set = placed(&all);
    near(Caller::in_zone("a").percent(&set, now, zones), [100, 0]);
    near(Caller::in_zone("c").percent(&set, now, zones), [50, 50]);
    let mut caller = Caller::in_zone("a");
    for (percent, expected) in [(0, [50, 50]), (50, [75, 25])] {
        caller.locality = caller.locality.with_zone_routing_percent(percent);
        near(caller.percent(&set, now, zones), expected);
    }
}

#[test]
fn a_zone_that_goes_down_moves_to_the_others_at_once() {
    let now = Instant::now();
    let zones = [("a", 0), ("b", 0)];
    let mut all = times(5, zones[0]);
    all.extend(times(10, zones[1]));
    let set = placed(&all);
    let balancer = Caller::in_zone("a").balancer(&set, now);
    (0..5).for_each(|at| refuse(&set, at, now));
    let hits = shares(&balancer, &set, now, 5000, &[]);
    assert_eq!(hits[..5].iter().sum::<usize>(), 0, "{hits:?}");
    // Two thirds are left: no panic.
    let mut rng = fastrand::Rng::with_seed(1);
    assert!(!balancer.choose(&set, now, &[], &mut rng).unwrap().panic);
}

#[test]
fn what_was_tried_is_left_for_the_next_best_place() {
    let now = Instant::now();
    let set = placed(&[("", 0), ("", 0), ("", 1)]);
    let balancer = Caller::in_zone("").balancer(&set, now);
    let mut rng = fastrand::Rng::with_seed(1);
    let mut next = |exclude: &[usize]| balancer.pick(&set, now, exclude, &mut rng);
    assert_eq!(next(&[0]), Some(1));
    assert_eq!(next(&[0, 1]), Some(2));
    assert_eq!(next(&[0, 1, 2]), None);
}

#[test]
fn another_attempt_leaves_the_zone_and_the_third_the_priority() {
    let now = Instant::now();
    let mut all = times(5, ("a", 0));
    all.extend(times(5, ("b", 0)));
    all.extend(times(5, ("a", 1)));
    let set = placed(&all);
    let balancer = Caller::in_zone("a").balancer(&set, now);
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..100 {
        let first = balancer.pick(&set, now, &[], &mut rng).unwrap();
        let second = balancer.pick(&set, now, &[first], &mut rng).unwrap();
        let third = balancer
            .pick(&set, now, &[first, second], &mut rng)
            .unwrap();
        assert_eq!((first / 5, second / 5, third / 5), (0, 1, 2));
    }
}

#[test]
fn fail_on_panic_fails_and_panic_off_never_tries_what_is_out() {
    let now = Instant::now();
    let set = placed(&[("", 0), ("", 0), ("", 1), ("", 1)]);
    let mut caller = Caller::in_zone("");
    let mut rng = fastrand::Rng::with_seed(1);
    (0..4).for_each(|at| refuse(&set, at, now));
    let tried = caller.balancer(&set, now).choose(&set, now, &[], &mut rng);
    assert!(tried.unwrap().panic);
    caller.balance = caller.balance.with_fail_on_panic(true);
    let failed = caller.balancer(&set, now).choose(&set, now, &[], &mut rng);
    assert_eq!(failed, None);
    caller.balance = BalancePolicy::default().with_panic_percent(0);
    let failed = caller.balancer(&set, now).choose(&set, now, &[], &mut rng);
    assert_eq!(failed, None);
}

#[test]
fn every_algorithm_picks_among_priorities_and_zones() {
    let now = Instant::now();
    let mut all = times(4, ("a", 0));
    all.extend(times(4, ("b", 0)));
    all.extend(times(4, ("a", 1)));
    for algorithm in ALL {
        let set = placed(&all);
        let mut caller = Caller::in_zone("a");
        caller.balance = caller.balance.with_algorithm(algorithm);
        let hits = shares(&caller.balancer(&set, now), &set, now, 8000, &[]);
        let sums: Vec<usize> = hits.chunks(4).map(|chunk| chunk.iter().sum()).collect();
        let zones_told_apart = !matches!(algorithm, Algorithm::RingHash | Algorithm::Maglev);
        let expected = if zones_told_apart {
            [8000, 0, 0]
        } else {
            [4000, 4000, 0]
        };
        for (sum, expected) in sums.iter().zip(expected) {
            assert!(sum.abs_diff(expected) < 900, "{algorithm:?} {hits:?}");
        }
    }
}
