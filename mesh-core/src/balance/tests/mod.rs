mod divided;
mod tables;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::policy::BalancePolicy;
use crate::policy::model::Algorithm;

const MS: Duration = Duration::from_millis(1);
const ALL: [Algorithm; 7] = [
    Algorithm::PeakEwma,
    Algorithm::LeastRequest,
    Algorithm::RoundRobin,
    Algorithm::Random,
    Algorithm::ClientWeighted,
    Algorithm::RingHash,
    Algorithm::Maglev,
];

fn info(port: u16) -> EndpointInfo {
    EndpointInfo::new(([10, 0, 0, 1], port).into())
}

fn set(count: u16) -> EndpointSet {
    EndpointSet::new((1..=count).map(info))
}

fn weighted(weights: &[u32]) -> EndpointSet {
    EndpointSet::new(weights.iter().zip(1..).map(|(weight, port)| EndpointInfo {
        weight: *weight,
        ..info(port)
    }))
}

fn balancer(algorithm: Algorithm) -> Balancer {
    Balancer::new(&BalancePolicy::default().with_algorithm(algorithm))
}

fn shares(
    balancer: &Balancer,
    set: &EndpointSet,
    now: Instant,
    picks: usize,
    exclude: &[usize],
) -> Vec<usize> {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut hits = vec![0; set.len()];
    for _ in 0..picks {
        if let Some(at) = balancer.pick(set, now, exclude, &mut rng) {
            hits[at] += 1;
        }
    }
    hits
}

/// Makes an endpoint unavailable by connect evidence.
fn refuse(set: &EndpointSet, at: usize, now: Instant) {
    set[at].connect_failed(now);
}

#[test]
fn an_empty_set_has_nothing_to_pick() {
    let now = Instant::now();
    let mut rng = fastrand::Rng::with_seed(1);
    for algorithm in ALL {
        let balancer = balancer(algorithm);
        assert_eq!(balancer.pick(&set(0), now, &[], &mut rng), None);
        assert_eq!(balancer.pick(&set(2), now, &[0, 1], &mut rng), None);
        assert_eq!(balancer.pick(&set(1), now, &[], &mut rng), Some(0));
        assert_eq!(balancer.pick(&set(3), now, &[0, 2], &mut rng), Some(1));
    }
}

#[test]
fn equal_endpoints_share_equally() {
    let now = Instant::now();
    for algorithm in ALL {
        let hits = shares(&balancer(algorithm), &set(4), now, 8000, &[]);
        let tolerance = match algorithm {
            Algorithm::RoundRobin | Algorithm::ClientWeighted => 0,
            _ => 250,
        };
        assert!(
            hits.iter().all(|h| h.abs_diff(2000) <= tolerance),
            "{algorithm:?} {hits:?}"
        );
    }
}

#[test]
fn round_robin_stays_even_around_an_endpoint_that_is_out() {
    let now = Instant::now();
    let set = set(4);
    refuse(&set, 1, now);
    let hits = shares(&balancer(Algorithm::RoundRobin), &set, now, 3000, &[]);
    assert_eq!(hits, [1000, 0, 1000, 1000]);
}

#[test]
fn weights_are_exact_in_turn_and_close_at_random() {
    let now = Instant::now();
    let set = weighted(&[5, 3, 2, 0]);
    assert_eq!(
        shares(&balancer(Algorithm::RoundRobin), &set, now, 1000, &[]),
        [500, 300, 200, 0]
    );
    let hits = shares(&balancer(Algorithm::Random), &set, now, 100_000, &[]);
    for (hit, share) in hits.iter().zip([50_000_usize, 30_000, 20_000, 0]) {
        assert!(hit.abs_diff(share) <= 500, "{hits:?}");
    }
}

#[test]
fn weights_of_zero_count_only_beside_others() {
    let now = Instant::now();
    for algorithm in ALL {
        let hits = shares(&balancer(algorithm), &weighted(&[1, 0, 1]), now, 300, &[]);
        assert_eq!(hits[1], 0, "{algorithm:?}");
        let hits = shares(&balancer(algorithm), &weighted(&[0, 0]), now, 300, &[]);
        assert!(hits.iter().all(|h| *h > 0), "{algorithm:?}");
    }
}

#[test]
fn least_request_follows_weight_over_calls_in_flight() {
    let now = Instant::now();
    let set = weighted(&[2, 1]);
    let balancer = balancer(Algorithm::LeastRequest);
    let mut rng = fastrand::Rng::with_seed(1);
    let mut guards = Vec::new();
    for _ in 0..30 {
        let at = balancer.pick(&set, now, &[], &mut rng).unwrap();
        guards.push(set[at].begin());
    }
    assert_eq!((set[0].in_flight(), set[1].in_flight()), (20, 10));
}

#[test]
fn a48_of_ten_choices_the_idlest_is_found_nearly_always() {
    let now = Instant::now();
    let set = set(10);
    let guards: Vec<_> = (0..9).map(|at| set[at].begin()).collect();
    let policy = BalancePolicy::default().with_algorithm(Algorithm::LeastRequest);
    let hits = |choices| {
        let balancer = Balancer::new(&policy.with_choices(choices));
        shares(&balancer, &set, now, 10_000, &[])[9]
    };
    let (two, ten) = (hits(2), hits(10));
    // 2 of 10; and 1 - (1 - 1/10)(8/9)^9 of what is sampled but for the best so far.
    assert!(two.abs_diff(2000) < 200, "{two}");
    assert!(ten > 6000, "{ten}");
    drop(guards);
}

#[test]
fn idle_endpoints_share_by_weight_under_least_request() {
    let now = Instant::now();
    let set = weighted(&[6, 3, 1]);
    let hits = shares(&balancer(Algorithm::LeastRequest), &set, now, 10_000, &[]);
    for (hits, expected) in hits.iter().zip([6000_usize, 3000, 1000]) {
        assert!(hits.abs_diff(expected) < 300, "{hits:?}");
    }
}

#[test]
fn a_request_bias_of_zero_leaves_the_weights_alone() {
    let now = Instant::now();
    let set = weighted(&[3, 1]);
    let guards: Vec<_> = (0..9).map(|_| set[0].begin()).collect();
    let policy = BalancePolicy::default().with_algorithm(Algorithm::LeastRequest);
    let biased = Balancer::new(&policy.with_request_bias_milli(0));
    let hits = shares(&biased, &set, now, 4000, &[]);
    assert!(hits[0].abs_diff(3000) < 200, "{hits:?}");
    assert_eq!(
        shares(&Balancer::new(&policy), &set, now, 100, &[]),
        [0, 100]
    );
    drop(guards);
}

#[test]
fn of_two_the_one_with_the_lower_cost_is_taken() {
    let now = Instant::now();
    let set = set(2);
    let balancer = balancer(Algorithm::PeakEwma);
    set[0].record(10 * MS, Outcome::Success, now);
    set[1].record(25 * MS, Outcome::Success, now);
    assert_eq!(shares(&balancer, &set, now, 100, &[]), [100, 0]);
    // 10 ms x (2 + 1) is more than 25 ms x (0 + 1).
    let guards = [set[0].begin(), set[0].begin()];
    assert_eq!(shares(&balancer, &set, now, 100, &[]), [0, 100]);
    drop(guards);
    assert_eq!(set[0].in_flight(), 0);
}

#[test]
fn finagle_a_new_endpoint_gets_one_call_at_once_and_is_then_taken_for_one_of_30_ms() {
    let now = Instant::now();
    let set = set(3);
    let balancer = balancer(Algorithm::PeakEwma);
    // Two that are known to be quicker than what is assumed of the third.
    set[0].record(MS, Outcome::Success, now);
    set[1].record(MS, Outcome::Success, now);
    let hits = shares(&balancer, &set, now, 300, &[]);
    assert!(hits[2] > 150, "{hits:?}");
    let guard = set[2].begin();
    assert_eq!(shares(&balancer, &set, now, 300, &[])[2], 0);
    // Twice 30 ms is less than 100.
    set[0].record(100 * MS, Outcome::Success, now);
    set[1].record(100 * MS, Outcome::Success, now);
    assert!(shares(&balancer, &set, now, 300, &[])[2] > 150);
    drop(guard);
}

#[test]
fn a_failure_counts_as_five_seconds_however_fast_it_came() {
    let now = Instant::now();
    let failure = |ms: u64| Outcome::Failure {
        retry_after: Some(Duration::from_millis(ms)),
    };
    let after = |outcome, rtt: Duration| {
        let set = set(1);
        set[0].record(rtt, outcome, now);
        (set[0].est(now).unwrap().as_secs_f64() * 1000.0).round() as u64
    };
    assert_eq!(after(failure(0), MS), 5000);
    assert_eq!(after(failure(8_000), MS), 8000);
    assert_eq!(after(failure(900_000), MS), 300_000);
    assert_eq!(after(failure(0), 7000 * MS), 7000);
    assert_eq!(after(Outcome::Cancelled, 70 * MS), 70);
    assert_eq!(after(Outcome::Success, 70 * MS), 70);
}

#[test]
fn a_cancelled_call_never_lowers_the_estimate() {
    let now = Instant::now();
    let set = set(1);
    set[0].record(100 * MS, Outcome::Success, now);
    set[0].record(MS, Outcome::Cancelled, now + MS);
    assert!(set[0].est(now + MS).unwrap() > 99 * MS);
}

#[test]
fn one_of_ten_that_fails_in_a_millisecond_gets_under_two_percent_within_a_second() {
    let start = Instant::now();
    let set = set(10);
    let balancer = balancer(Algorithm::PeakEwma);
    let mut rng = fastrand::Rng::with_seed(3);
    let mut bad = 0;
    // 1,000 calls a second, each answered before the next: the load is latency alone.
    for ms in 0..1000 {
        let now = start + ms * MS;
        let at = balancer.pick(&set, now, &[], &mut rng).unwrap();
        if at == 0 {
            bad += 1;
            let outcome = Outcome::Failure { retry_after: None };
            balancer.record(&set[at], MS, outcome, now);
        } else {
            balancer.record(&set[at], 5 * MS, Outcome::Success, now);
        }
    }
    assert!(bad < 20, "{bad} of 1000");
}

#[test]
fn under_half_available_is_panic_and_what_refuses_connections_comes_last() {
    let now = Instant::now();
    let mut rng = fastrand::Rng::with_seed(1);
    for algorithm in ALL {
        let set = set(4);
        let balancer = balancer(algorithm);
        refuse(&set, 0, now);
        refuse(&set, 1, now);
        let pick = balancer.choose(&set, now, &[], &mut rng).unwrap();
        assert!(!pick.panic && pick.index >= 2, "{algorithm:?}");
        refuse(&set, 2, now);
        assert!(balancer.choose(&set, now, &[], &mut rng).unwrap().panic);
        let hits = shares(&balancer, &set, now, 400, &[]);
        assert_eq!(hits[3], 400, "{algorithm:?} {hits:?}");
        // Tried already, or refusing too: then any of the others is better than none.
        let hits = shares(&balancer, &set, now, 400, &[3]);
        assert!(hits[..3].iter().all(|h| *h > 50), "{algorithm:?} {hits:?}");
        refuse(&set, 3, now);
        let hits = shares(&balancer, &set, now, 400, &[]);
        assert!(hits.iter().all(|h| *h > 50), "{algorithm:?} {hits:?}");
    }
}

#[test]
fn with_panic_off_nothing_available_is_nothing_to_pick() {
    let now = Instant::now();
    let set = set(2);
    let mut rng = fastrand::Rng::with_seed(1);
    let balancer = Balancer::new(&BalancePolicy::default().with_panic_percent(0));
    refuse(&set, 0, now);
    assert_eq!(balancer.pick(&set, now, &[], &mut rng), Some(1));
    refuse(&set, 1, now);
    assert_eq!(balancer.pick(&set, now, &[], &mut rng), None);
}

#[test]
fn when_all_available_ones_were_tried_another_is_better_than_none() {
    let now = Instant::now();
    let set = set(3);
    refuse(&set, 2, now);
    let hits = shares(&balancer(Algorithm::PeakEwma), &set, now, 10, &[0, 1]);
    assert_eq!(hits, [0, 0, 10]);
}

#[test]
fn an_unreachable_endpoint_is_tried_once_after_a_growing_pause() {
    let start = Instant::now();
    let set = set(3);
    let balancer = balancer(Algorithm::PeakEwma);
    refuse(&set, 0, start);
    assert_eq!(shares(&balancer, &set, start + 249 * MS, 100, &[])[0], 0);
    let due = start + 251 * MS;
    assert_eq!(shares(&balancer, &set, due, 100, &[])[0], 1);
    refuse(&set, 0, due);
    assert_eq!(shares(&balancer, &set, due + 499 * MS, 100, &[])[0], 0);
    assert_eq!(shares(&balancer, &set, due + 501 * MS, 100, &[])[0], 1);
    let back = due + 501 * MS;
    set[0].connected(back);
    // It takes its share by and by.
    let hits = shares(&balancer, &set, back, 1000, &[])[0];
    assert!((10..100).contains(&hits), "{hits}");
    let hits = shares(&balancer, &set, back + 10_000 * MS, 1000, &[])[0];
    assert!(hits > 250, "{hits}");
}

#[test]
fn a_burst_of_failures_to_connect_is_one() {
    let start = Instant::now();
    let set = set(3);
    let balancer = balancer(Algorithm::PeakEwma);
    for late in 0..200 {
        set[0].connect_failed(start + late * MS);
    }
    assert_eq!(
        shares(&balancer, &set, start + 251 * MS, 100, &[])[0],
        1,
        "after the first pause, not after the longest"
    );
}

#[test]
fn a_broken_connection_leaves_the_endpoint_in_rotation_and_has_it_tried_soon() {
    let start = Instant::now();
    let set = set(3);
    let balancer = balancer(Algorithm::RoundRobin);
    set[0].connection_broke(start);
    assert!(set[0].is_reachable());
    assert_eq!(shares(&balancer, &set, start + 100 * MS, 99, &[])[0], 33);

    // By latency it would not be picked for a minute: five seconds against a millisecond.
    let balancer = self::balancer(Algorithm::PeakEwma);
    let failure = Outcome::Failure { retry_after: None };
    set[0].record(12 * MS, failure, start);
    for at in [1, 2] {
        set[at].record(MS, Outcome::Success, start);
    }
    assert_eq!(shares(&balancer, &set, start + 249 * MS, 100, &[])[0], 0);
    let due = start + 251 * MS;
    assert_eq!(shares(&balancer, &set, due, 100, &[])[0], 1);
    // A call from before says nothing about who is there now.
    set[0].record(300 * MS, Outcome::Success, due + MS);
    assert!(set[0].est(due + MS).is_some());
    set[0].record(MS, Outcome::Success, due + 2 * MS);
    assert_eq!(set[0].est(due + 2 * MS), None);
    let warm = due + 10_010 * MS;
    assert!(shares(&balancer, &set, warm, 1000, &[])[0] > 250);
}

#[test]
fn the_next_set_keeps_what_was_observed() {
    let now = Instant::now();
    let first = set(3);
    first[1].record(50 * MS, Outcome::Success, now);
    let guard = first[1].begin();
    let labelled = EndpointInfo {
        labels: Arc::new(BTreeMap::from([("version".to_owned(), "v2".to_owned())])),
        weight: 7,
        ..info(2)
    };
    let next = first.next([info(9), labelled, info(1), info(1)]);
    assert_eq!(next.len(), 3);
    assert!(Arc::ptr_eq(&next[2], &first[0]));
    assert_eq!(next[1].info().weight, 7);
    assert_eq!(next[1].in_flight(), 1);
    assert_eq!(next[1].est(now), first[1].est(now));
    drop(guard);
    assert_eq!(next[1].in_flight(), 0);
    assert_eq!(next[0].est(now), None);
}

#[test]
fn another_identity_at_an_address_is_another_endpoint() {
    let now = Instant::now();
    let as_service = |name: &str| EndpointInfo {
        identity: format!("spiffe://d/ns/shop/sa/{name}").parse().ok(),
        ..info(1)
    };
    let first = EndpointSet::new([as_service("a")]);
    first[0].record(50 * MS, Outcome::Success, now);
    assert_eq!(first.next([as_service("b")])[0].est(now), None);
    assert!(first.next([as_service("a")])[0].est(now).is_some());
}

#[test]
fn a_subset_shares_its_states() {
    let v1 = BTreeMap::from([("version".to_owned(), "v1".to_owned())]);
    let labelled = EndpointInfo {
        labels: Arc::new(v1.clone()),
        ..info(2)
    };
    let all = EndpointSet::new([info(1), labelled]);
    let subset = all.subset(&v1);
    assert_eq!(subset.len(), 1);
    assert!(Arc::ptr_eq(&subset[0], &all[1]));
    assert_eq!(all.subset(&BTreeMap::new()).len(), 2);
}

#[test]
fn a_large_set_is_counted_once_in_20_ms() {
    let now = Instant::now();
    let set = set(100);
    assert_eq!(set.available(now), 100);
    refuse(&set, 0, now);
    assert_eq!(set.available(now + 10 * MS), 100);
    assert_eq!(set.available(now + 30 * MS), 99);
}

#[test]
fn picks_from_many_threads_keep_the_count_of_calls() {
    let now = Instant::now();
    let set = set(5);
    let balancer = balancer(Algorithm::PeakEwma);
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (set, balancer) = (&set, &balancer);
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(seed);
                for i in 0..5000 {
                    let at = balancer.pick(set, now, &[], &mut rng).unwrap();
                    let guard = set[at].begin();
                    balancer.record(&set[at], MS, Outcome::Success, now + i * MS);
                    drop(guard);
                }
            });
        }
    });
    assert!(set.iter().all(|e| e.in_flight() == 0));
    assert_eq!(set.iter().map(|e| e.totals().0).sum::<u64>(), 20_000);
}
