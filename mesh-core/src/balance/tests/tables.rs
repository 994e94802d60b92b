//! Hashes, measured weights and apertures through whole picks.

#![allow(clippy::print_stderr, reason = "the figures of the run")]

use super::*;
use crate::policy::model::LocalityPolicy;

fn prepared(policy: &BalancePolicy, set: &EndpointSet, previous: Option<&Balancer>) -> Balancer {
    of_peer(policy, set, previous, None, Instant::now())
}

fn of_peer(
    policy: &BalancePolicy,
    set: &EndpointSet,
    previous: Option<&Balancer>,
    peer: Option<(u32, u32)>,
    now: Instant,
) -> Balancer {
    let plan = Plan {
        balance: policy,
        locality: &LocalityPolicy::default(),
        place: &Place {
            peer,
            seed: 0x1234_5678_9abc_def0,
            ..Place::default()
        },
    };
    Balancer::prepared(&plan, set, previous, now)
}

fn by(algorithm: Algorithm) -> BalancePolicy {
    BalancePolicy::default().with_algorithm(algorithm)
}

fn ask(now: Instant, key: u64) -> Ask<'static> {
    let hash = hash::TextHash::of(0, format_args!("key {key}"));
    Ask::new(now).with_hash(Some(hash))
}

const HASHED: [Algorithm; 2] = [Algorithm::RingHash, Algorithm::Maglev];

#[test]
fn a_hash_goes_to_the_same_endpoint_and_keys_spread_over_all() {
    let now = Instant::now();
    let mut rng = fastrand::Rng::with_seed(1);
    for algorithm in HASHED {
        let set = set(10);
        let balancer = prepared(&by(algorithm).with_min_ring_size(4096), &set, None);
        let mut hits = [0; 10];
        for key in 0..10_000 {
            let mut pick = || {
                balancer
                    .choose_for(&set, &ask(now, key), &mut rng)
                    .unwrap()
                    .index
            };
            let first = pick();
            assert!((0..3).all(|_| pick() == first));
            hits[first] += 1;
        }
        assert!(
            hits.iter().all(|n| (700..1400).contains(n)),
            "{algorithm:?} {hits:?}"
        );
    }
}

#[test]
fn only_the_keys_of_an_endpoint_that_is_out_move_and_they_come_back() {
    let now = Instant::now();
    let mut rng = fastrand::Rng::with_seed(1);
    for algorithm in HASHED {
        let set = set(10);
        let balancer = prepared(&by(algorithm), &set, None);
        let mut all = || -> Vec<usize> {
            let pick = |key| {
                balancer
                    .choose_for(&set, &ask(now, key), &mut rng)
                    .unwrap()
                    .index
            };
            (0..2000).map(pick).collect()
        };
        let before = all();
        refuse(&set, 3, now);
        let out = all();
        let mut taken_over = [0; 10];
        for (was, is) in before.iter().zip(&out) {
            assert!(*is != 3 && (*was == 3 || was == is), "{algorithm:?}");
            taken_over[*is] += usize::from(*was == 3);
        }
        let heirs = taken_over.iter().filter(|n| **n > 0).count();
        assert!(heirs >= 7, "{algorithm:?} {taken_over:?}");
        set[3].connected(now);
        assert_eq!(all(), before);
    }
}

#[test]
fn without_a_hash_any_endpoint_is_as_good() {
    let now = Instant::now();
    for algorithm in HASHED {
        let set = set(4);
        let balancer = prepared(&by(algorithm), &set, None);
        let hits = shares(&balancer, &set, now, 4000, &[]);
        assert!(
            hits.iter().all(|n| n.abs_diff(1000) < 250),
            "{algorithm:?} {hits:?}"
        );
        // Without tables too.
        let hits = shares(&super::balancer(algorithm), &set, now, 4000, &[]);
        assert!(
            hits.iter().all(|n| n.abs_diff(1000) < 250),
            "{algorithm:?} {hits:?}"
        );
    }
}

#[test]
fn bounded_load_passes_over_an_endpoint_that_carries_its_part() {
    let now = Instant::now();
    let mut rng = fastrand::Rng::with_seed(1);
    for algorithm in HASHED {
        let set = set(5);
        let policy = by(algorithm).with_bounded_load_percent(125);
        let balancer = prepared(&policy, &set, None);
        let hot = ask(now, 7);
        let mut guards = Vec::new();
        for calls in 1..=200 {
            let at = balancer.choose_for(&set, &hot, &mut rng).unwrap().index;
            guards.push(set[at].begin());
            let most = set.iter().map(|e| e.in_flight()).max().unwrap();
            let bound = (f64::from(calls) * 1.25 / 5.0).ceil() + 1.0;
            assert!(f64::from(most) <= bound, "{most} of {calls}");
        }
        // One key, spread no further than the bound asks for.
        let loads: Vec<_> = set.iter().map(|e| e.in_flight()).collect();
        assert!(loads.iter().any(|n| *n >= 49), "{algorithm:?} {loads:?}");
        drop(guards);
        let first = balancer.choose_for(&set, &hot, &mut rng).unwrap().index;
        for _ in 0..50 {
            assert_eq!(
                balancer.choose_for(&set, &hot, &mut rng).unwrap().index,
                first
            );
        }
    }
}

#[test]
fn calls_that_began_before_the_load_was_counted_do_not_end_below_zero() {
    let now = Instant::now();
    let mut rng = fastrand::Rng::with_seed(1);
    let set = set(3);
    let before = [set[0].begin(), set[1].begin()];
    let policy = by(Algorithm::RingHash).with_bounded_load_percent(150);
    let balancer = prepared(&policy, &set, None);
    drop(before);
    assert_eq!(set.in_flight(), 0);
    let during = set[2].begin();
    assert_eq!(set.in_flight(), 1);
    let unbounded = prepared(&by(Algorithm::RingHash), &set, Some(&balancer));
    drop(during);
    assert_eq!(set.in_flight(), 0);
    assert!(unbounded.choose_for(&set, &ask(now, 1), &mut rng).is_some());
}

#[test]
fn a_session_stays_at_its_endpoint_while_that_is_available() {
    let now = Instant::now();
    let mut rng = fastrand::Rng::with_seed(1);
    for algorithm in ALL {
        let set = set(5);
        let balancer = prepared(&by(algorithm), &set, None);
        let id = set[3].id();
        let asked = Ask::new(now).preferring(set.position(id));
        let mut pick = |ask: &Ask<'_>| balancer.choose_for(&set, ask, &mut rng).unwrap().index;
        assert!((0..50).all(|_| pick(&asked) == 3), "{algorithm:?}");
        assert_ne!(pick(&asked.excluding(&[3])), 3);
        refuse(&set, 3, now);
        assert!((0..50).all(|_| pick(&asked) != 3), "{algorithm:?}");
        // Another order, another set: the id is the same.
        let next = set.next([info(9), info(4), info(1)]);
        assert_eq!(next.position(id), Some(1));
        assert_eq!(next.position(42), None);
    }
}

#[test]
fn a58_calls_follow_the_reported_weights() {
    let start = Instant::now();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    let set = set(3);
    let policy = by(Algorithm::ClientWeighted);
    let balancer = of_peer(&policy, &set, None, None, start);
    let report = |used| LoadReport {
        qps: 100.0,
        cpu_utilization: used,
        ..LoadReport::default()
    };
    let tell = |second| {
        set[0].report(&policy, &report(0.2), at(second));
        set[1].report(&policy, &report(0.4), at(second));
    };
    // Plain round robin until reports have come for 10 s.
    tell(0);
    balancer.refresh(at(5));
    assert_eq!(shares(&balancer, &set, at(5), 900, &[]), [300, 300, 300]);
    tell(9);
    balancer.refresh(at(10));
    // 500 and 250; the third has said nothing and takes the mean of 375.
    let hits = shares(&balancer, &set, at(10), 9000, &[]);
    for (hits, expected) in hits.iter().zip([4000_usize, 2000, 3000]) {
        assert!(hits.abs_diff(expected) <= 5, "{hits}");
    }
    // A balancer for the next set knows at once what the endpoints have said.
    let next = set.next([info(1), info(2)]);
    let following = of_peer(&policy, &next, Some(&balancer), None, at(11));
    let hits = shares(&following, &next, at(11), 3000, &[]);
    assert!(hits[0].abs_diff(2000) <= 5, "{hits:?}");
    // Nobody has reported for 3 minutes.
    following.refresh(at(200));
    assert_eq!(shares(&following, &next, at(200), 1000, &[]), [500, 500]);
}

#[test]
fn above_a_hundred_endpoints_each_client_uses_an_arc() {
    let now = Instant::now();
    let policy = BalancePolicy::default();
    let used = |count, peer| {
        let set = set(count);
        let balancer = of_peer(&policy, &set, None, peer, now);
        let hits = shares(&balancer, &set, now, 20_000, &[]);
        hits.iter().filter(|n| **n > 0).count()
    };
    assert_eq!(used(100, None), 100);
    assert!((12..=13).contains(&used(120, None)));
    assert!((12..=13).contains(&used(1000, Some((3, 500)))));
    // Alone, a client covers all of them.
    assert_eq!(used(120, Some((0, 1))), 120);
}

#[test]
fn the_arcs_of_all_clients_load_all_endpoints_alike() {
    let now = Instant::now();
    let set = set(150);
    let policy = BalancePolicy::default();
    let peers = 40;
    let mut hits = vec![0; 150];
    for index in 0..peers {
        let balancer = of_peer(&policy, &set, None, Some((index, peers)), now);
        for (sum, n) in hits.iter_mut().zip(shares(&balancer, &set, now, 5000, &[])) {
            *sum += n;
        }
    }
    let mean = 40 * 5000 / 150;
    let (least, most) = (hits.iter().min().unwrap(), hits.iter().max().unwrap());
    eprintln!("least {least}, mean {mean}, most {most}");
    assert!(*least * 10 > mean * 8 && *most * 10 < mean * 12, "{hits:?}");
}

#[test]
fn an_arc_whose_endpoints_fail_widens_before_anything_panics() {
    let now = Instant::now();
    let set = set(200);
    let policy = BalancePolicy::default();
    let balancer = of_peer(&policy, &set, None, None, now);
    let arc = |now| -> Vec<usize> {
        let hits = shares(&balancer, &set, now, 5000, &[]);
        (0..200).filter(|at| hits[*at] > 0).collect()
    };
    let before = arc(now);
    before.iter().for_each(|at| refuse(&set, *at, now));
    // All of the arc is out: others are found, and it is no panic.
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..100 {
        let pick = balancer.choose(&set, now, &[], &mut rng).unwrap();
        assert!(!pick.panic && !before.contains(&pick.index));
    }
    for _ in 0..4 {
        balancer.refresh(now);
    }
    let hits = shares(&balancer, &set, now, 5000, &[]);
    let used = hits.iter().filter(|n| **n > 100).count();
    assert!(used >= 12, "{hits:?}");
}

#[test]
fn an_aperture_keeps_its_width_when_endpoints_come_and_go() {
    let start = Instant::now();
    let policy = BalancePolicy::default();
    let set = set(300);
    let balancer = of_peer(&policy, &set, None, None, start);
    let guards: Vec<_> = (0..300).map(|at| set[at % 300].begin()).collect();
    for second in 0..60 {
        balancer.refresh(start + Duration::from_secs(second));
    }
    let next = set.next((2..=300).map(info));
    let later = start + Duration::from_secs(60);
    let following = of_peer(&policy, &next, Some(&balancer), None, later);
    let hits = shares(&following, &next, later, 50_000, &[]);
    let used = hits.iter().filter(|n| **n > 0).count();
    assert!(used > 250, "{used}");
    drop(guards);
}

#[test]
fn turns_go_on_when_policy_and_endpoints_change() {
    let now = Instant::now();
    let mut rng = fastrand::Rng::with_seed(1);
    let set = set(4);
    let policy = by(Algorithm::RoundRobin);
    let mut balancer = prepared(&policy, &set, None);
    let mut seen = Vec::new();
    for round in 0..8 {
        seen.push(balancer.pick(&set, now, &[], &mut rng).unwrap());
        let policy = policy.with_panic_percent(round);
        balancer = prepared(&policy, &set, Some(&balancer));
    }
    assert_eq!(seen, [0, 1, 2, 3, 0, 1, 2, 3]);
}

#[test]
fn tables_of_hashes_are_built_anew_only_for_other_endpoints() {
    let now = Instant::now();
    let mut rng = fastrand::Rng::with_seed(1);
    for algorithm in HASHED {
        let first = set(50);
        let before = prepared(&by(algorithm), &first, None);
        let labelled = (1..=50).map(|port| EndpointInfo {
            labels: Arc::new(BTreeMap::from([("a".to_owned(), "b".to_owned())])),
            ..info(port)
        });
        let second = first.next(labelled);
        let after = prepared(&by(algorithm), &second, Some(&before));
        for key in 0..100 {
            let ask = ask(now, key);
            assert_eq!(
                before.choose_for(&first, &ask, &mut rng),
                after.choose_for(&second, &ask, &mut rng)
            );
        }
        assert!(after.shares_tables_with(&before));
    }
}
