//! The tables of Envoy's outlier detection and gRFC A50.

use std::time::Duration;

use super::tests::Pool;
use super::*;
use crate::balance::{Balancer, Outcome};
use crate::policy::model::Algorithm;
use crate::policy::{BalancePolicy, EjectionPolicy, LatencyMode};
use crate::report::EndpointHealth;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Only the rules that are turned on by the test.
fn bare() -> EjectionPolicy {
    EjectionPolicy::default()
        .with_consecutive_errors(0)
        .with_failure_percent(0)
        .with_latency(LatencyMode::Off)
}

impl Pool {
    fn with(count: u16, policy: EjectionPolicy) -> Self {
        let mut pool = Self::new(count);
        pool.policy = policy;
        pool.sweep();
        pool
    }

    fn sweep(&self) -> Vec<Event> {
        self.detector.sweep(&self.policy, &self.set, self.now)
    }

    /// Calls within the interval that is about to end, of which some fail.
    fn calls(&self, ix: usize, calls: usize, failures: usize) {
        for n in 0..calls {
            self.record(ix, n >= failures);
        }
    }

    fn observe(&self, ix: usize, observed: Observed, times: usize) -> Vec<Event> {
        let one = || {
            self.detector
                .observe(&self.policy, &self.set, ix, observed, self.now)
        };
        (0..times).filter_map(|_| one()).collect()
    }

    fn end_interval(&mut self) -> Vec<Event> {
        self.now += 10 * SECOND;
        self.sweep()
    }
}

fn reasons(events: &[Event]) -> Vec<(usize, EjectReason)> {
    let reason = |event: &Event| match event {
        Event::Ejected { ix, reason, .. } => Some((*ix, *reason)),
        _ => None,
    };
    events.iter().filter_map(reason).collect()
}

/// As `calls`, but recorded just before the interval ends, so that they are in its window.
fn interval(pool: &mut Pool, calls: &[(usize, usize)]) -> Vec<Event> {
    pool.now += 10 * SECOND - 100 * MS;
    for (ix, (calls, failures)) in calls.iter().enumerate() {
        pool.calls(ix, *calls, *failures);
    }
    pool.now += 100 * MS;
    pool.sweep()
}

#[test]
fn envoy_success_rate_basic_flow() {
    // outlier_detection_impl_test, BasicFlowSuccessRate: mean 90, threshold 52, the host at 50.
    let mut pool = Pool::with(5, bare().with_success_rate(true));
    let events = interval(
        &mut pool,
        &[(200, 0), (200, 0), (200, 0), (200, 0), (200, 100)],
    );
    let reason = EjectReason::SuccessRate {
        milli: 500,
        threshold_milli: 520,
    };
    assert_eq!(reasons(&events), [(4, reason)]);
}

#[test]
fn envoy_success_rate_needs_volume_and_hosts() {
    for (hosts, calls, expected) in [(5, 100, 1), (5, 99, 0), (4, 100, 0)] {
        let mut pool = Pool::with(hosts, bare().with_success_rate(true));
        let mut all = vec![(calls, 0); usize::from(hosts)];
        all[0] = (calls, calls);
        let events = interval(&mut pool, &all);
        assert_eq!(events.len(), expected, "{hosts} hosts, {calls} calls");
    }
}

#[test]
fn envoy_success_rate_of_hosts_without_volume_does_not_count() {
    let mut pool = Pool::with(6, bare().with_success_rate(true));
    // The sixth would pull the mean down so far that nobody is an outlier.
    let mut all = vec![(100, 0); 6];
    all[0] = (100, 50);
    all[5] = (99, 99);
    assert_eq!(reasons(&interval(&mut pool, &all)).len(), 1);
}

#[test]
fn a50_failure_percentage_at_the_threshold() {
    // Envoy's field comment says >=, its algorithm and A50 say >. At equality ours ejects; the other
    // reading is a threshold one higher.
    for (threshold, failures, ejected) in [
        (85, 85, true),
        (85, 84, false),
        (86, 85, false),
        (100, 100, true),
        (100, 99, false),
    ] {
        let policy = bare().with_failure_percentage_threshold(threshold);
        let mut pool = Pool::with(5, policy);
        let mut all = vec![(100, 0); 5];
        all[2] = (100, failures);
        let reason = EjectReason::FailurePercentage {
            percent: failures as u32,
            calls: 100,
        };
        let expected = if ejected { vec![(2, reason)] } else { vec![] };
        let events = interval(&mut pool, &all);
        assert_eq!(reasons(&events), expected, "{failures} % of {threshold} %");
    }
}

#[test]
fn a50_failure_percentage_needs_volume_and_hosts() {
    for (hosts, calls, expected) in [(5, 50, 1), (5, 49, 0), (4, 50, 0)] {
        let policy = bare().with_failure_percentage_threshold(85);
        let mut pool = Pool::with(hosts, policy);
        let mut all = vec![(calls, 0); usize::from(hosts)];
        all[0] = (calls, calls);
        let events = interval(&mut pool, &all);
        assert_eq!(events.len(), expected, "{hosts} hosts, {calls} calls");
    }
}

#[test]
fn a50_success_rate_comes_before_failure_percentage_and_both_before_un_ejecting() {
    let policy = bare()
        .with_success_rate(true)
        .with_failure_percentage_threshold(85);
    let mut pool = Pool::with(6, policy);
    let mut all = vec![(100, 0); 6];
    all[0] = (100, 100);
    let events = interval(&mut pool, &all);
    assert!(
        matches!(reasons(&events)[..], [(0, EjectReason::SuccessRate { .. })]),
        "{events:?}"
    );
    // A quarter of its time later it is due, in the sweep in which another is ejected first.
    all[0] = (0, 0);
    all[1] = (100, 100);
    let events = interval(&mut pool, &all);
    assert!(
        matches!(
            events[..],
            [Event::Ejected { ix: 1, .. }, Event::Probing { ix: 0 }]
        ),
        "{events:?}"
    );
}

#[test]
fn a50_the_percentage_is_checked_before_each_ejection() {
    let policy = bare()
        .with_failure_percentage_threshold(85)
        .with_max_ejected_percent(20);
    let mut pool = Pool::with(10, policy);
    let mut all = vec![(100, 0); 10];
    all[..4].fill((100, 90));
    let events = interval(&mut pool, &all);
    assert_eq!(reasons(&events).len(), 2, "{events:?}");
    assert!(events.contains(&Event::Withheld { why: Withheld::Cap }));
    assert_eq!(pool.out(), 2);
}

#[test]
fn a50_counters_are_those_of_the_interval() {
    let mut pool = Pool::with(5, bare().with_failure_percentage_threshold(85));
    pool.calls(0, 100, 100);
    (1..5).for_each(|ix| pool.calls(ix, 100, 0));
    // The interval in which they were made has passed without a sweep.
    pool.now += 11 * SECOND;
    assert_eq!(pool.sweep(), []);
}

#[test]
fn a50_ejection_time_is_the_base_times_the_multiplier_up_to_the_maximum() {
    let policy = bare().with_consecutive_errors(1);
    for (base, longest, expected) in [(30, 300, 30), (400, 300, 400)] {
        let pool = Pool::with(
            3,
            policy
                .with_eject_for(base * SECOND)
                .with_max_eject_for(longest * SECOND),
        );
        let Some(Event::Ejected { until, .. }) = pool.record(0, false) else {
            panic!("not ejected");
        };
        assert_eq!(until - pool.now, expected * SECOND, "max(base, max)");
    }
}

#[test]
fn envoy_jitter_adds_up_to_its_maximum_and_differs() {
    let policy = bare()
        .with_consecutive_errors(1)
        .with_max_ejected_percent(100)
        .with_max_eject_jitter(10 * SECOND);
    let times = |seed| {
        let mut pool = Pool::with(20, policy);
        pool.detector = Detector::with_seed(seed);
        (0..10)
            .map(|ix| {
                (10..20).for_each(|peer| pool.serve(peer, 1));
                match pool.record(ix, false) {
                    Some(Event::Ejected { until, .. }) => until - pool.now,
                    other => panic!("{other:?}"),
                }
            })
            .collect::<Vec<_>>()
    };
    let (one, two) = (times(1), times(2));
    assert!(
        one.iter().all(|t| (30 * SECOND..40 * SECOND).contains(t)),
        "{one:?}"
    );
    assert_eq!(one, times(1));
    assert_ne!(one, two);
    let mut distinct = one.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 10);
}

#[test]
fn envoy_consecutive_gateway_failures() {
    let policy = bare().with_consecutive_gateway(3);
    let pool = Pool::with(3, policy);
    assert_eq!(pool.observe(0, Observed::Gateway, 2), []);
    // A 500 is no gateway failure, so it ends the run.
    assert_eq!(pool.observe(0, Observed::Error, 5), []);
    assert_eq!(pool.observe(0, Observed::Gateway, 2), []);
    let events = pool.observe(0, Observed::Gateway, 1);
    assert_eq!(reasons(&events), [(0, EjectReason::Gateway { errors: 3 })]);
    // Enforcing 0: off by default.
    assert_eq!(EjectionPolicy::default().consecutive_gateway(), 0);
}

#[test]
fn envoy_merged_local_failures_count_as_5xx_and_as_gateway_errors() {
    let pool = Pool::with(3, bare().with_consecutive_errors(5));
    assert_eq!(pool.observe(0, Observed::Local, 3), []);
    let events = pool.observe(0, Observed::Error, 2);
    assert_eq!(
        reasons(&events),
        [(0, EjectReason::Consecutive { errors: 5 })]
    );
    let pool = Pool::with(3, bare().with_consecutive_gateway(2));
    let events = pool.observe(0, Observed::Local, 2);
    assert_eq!(reasons(&events), [(0, EjectReason::Gateway { errors: 2 })]);
}

#[test]
fn envoy_split_local_failures_count_apart() {
    let split = bare()
        .with_split_local_origin(true)
        .with_consecutive_errors(3)
        .with_consecutive_local(5);
    let pool = Pool::with(3, split);
    assert_eq!(pool.observe(0, Observed::Local, 4), []);
    assert_eq!(pool.observe(0, Observed::Error, 2), []);
    // Any answer ends the local run, whatever it says.
    assert_eq!(pool.observe(0, Observed::Local, 4), []);
    let events = pool.observe(0, Observed::Local, 1);
    assert_eq!(reasons(&events), [(0, EjectReason::Local { errors: 5 })]);
    let pool = Pool::with(3, split);
    assert_eq!(pool.observe(1, Observed::Local, 2), []);
    assert_eq!(pool.observe(1, Observed::Error, 2), []);
    assert_eq!(pool.observe(1, Observed::Local, 2), []);
    let events = pool.observe(1, Observed::Error, 1);
    assert_eq!(
        reasons(&events),
        [(1, EjectReason::Consecutive { errors: 3 })],
        "a local failure neither adds to nor ends a run of answers"
    );
}

#[test]
fn the_brake_sees_local_failures_that_are_counted_apart() {
    let pool = Pool::with(4, bare().with_split_local_origin(true));
    (0..3).for_each(|ix| drop(pool.observe(ix, Observed::Local, 2)));
    let events = pool.observe(3, Observed::Local, 5);
    let why = Withheld::ServiceWide;
    assert_eq!(events, [Event::Withheld { why }]);
    assert_eq!(pool.out(), 0);
}

#[test]
fn envoy_a_successful_health_check_brings_an_endpoint_back() {
    let mut pool = Pool::with(3, bare().with_consecutive_errors(5));
    pool.eject(0);
    pool.now += SECOND;
    assert!(pool.set[0].ejection().restore(pool.now));
    assert_eq!(pool.set[0].health(), EndpointHealth::Available);
    assert!(!pool.set[0].ejection().restore(pool.now), "once");
    // With slow start: a tenth of its share at first.
    let balancer = Balancer::new(&BalancePolicy::default().with_algorithm(Algorithm::Random));
    let mut rng = fastrand::Rng::with_seed(1);
    let hits = (0..3000)
        .filter(|_| balancer.pick(&pool.set, pool.now, &[], &mut rng) == Some(0))
        .count();
    assert!(
        (50..250).contains(&hits),
        "{hits} of 3,000, full share 1,000"
    );
}

/// Six endpoints, the first slower than the others, three intervals of 60 calls each.
fn latency(policy: EjectionPolicy, slow: u32, calls: u32) -> (Pool, Vec<Event>) {
    let mut pool = Pool::with(6, policy);
    let mut events = Vec::new();
    for _ in 0..4 {
        for ix in 0..6 {
            let ms = if ix == 0 { slow } else { 10 };
            for _ in 0..calls {
                pool.set[ix].record(ms * MS, Outcome::Success, pool.now + 9 * SECOND);
            }
        }
        let all = vec![(calls as usize, 0); 6];
        events.extend(interval(&mut pool, &all));
    }
    (pool, events)
}

#[test]
fn a_latency_outlier_is_told_and_kept_in_shadow_mode() {
    let (pool, events) = latency(bare().with_latency(LatencyMode::Shadow), 50, 60);
    let expected = Event::Slow {
        ix: 0,
        factor_milli: 5000,
    };
    assert_eq!(events, [expected], "once");
    assert_eq!(pool.out(), 0);
    assert_eq!(pool.set[0].ejection().slow_milli(), Some(5000));
}

#[test]
fn a_latency_outlier_is_ejected_in_enforce_mode() {
    let (pool, events) = latency(bare().with_latency(LatencyMode::Enforce), 50, 60);
    let reason = EjectReason::Latency { factor_milli: 5000 };
    assert_eq!(reasons(&events), [(0, reason)]);
    assert_eq!(reason.to_string(), "5.0 times as slow as its peers");
    assert_eq!(pool.out(), 1);
}

#[test]
fn a_latency_outlier_comes_back_by_a_probe_that_is_quick() {
    let (mut pool, _) = latency(bare().with_latency(LatencyMode::Enforce), 50, 60);
    let probe = |pool: &mut Pool, ms| {
        pool.now = pool.set[0].ejection().until(pool.now).unwrap();
        assert!(pool.probe(0));
        let now = pool.now;
        pool.set[0].record(ms * MS, Outcome::Success, now);
        pool.record(0, true)
    };
    for _ in 0..2 {
        // It answers, and as slowly as before.
        let event = probe(&mut pool, 50);
        assert!(
            matches!(event, Some(Event::ProbeFailed { .. })),
            "{event:?}"
        );
    }
    assert_eq!(probe(&mut pool, 12), Some(Event::Restored { ix: 0 }));
    assert_eq!(pool.out(), 0);

    // Nobody compares latencies any more: an answer is an answer.
    let (mut pool, _) = latency(bare().with_latency(LatencyMode::Enforce), 50, 60);
    pool.policy = bare().with_latency(LatencyMode::Shadow);
    assert_eq!(probe(&mut pool, 50), Some(Event::Restored { ix: 0 }));
}

#[test]
fn three_times_as_slow_is_not_more_than_three_times() {
    for (slow, calls, hosts, found) in [
        (31, 60, 5, 1),
        (30, 60, 5, 0),
        (50, 49, 5, 0),
        (50, 60, 7, 0),
    ] {
        let policy = bare()
            .with_latency(LatencyMode::Enforce)
            .with_latency_minimum_hosts(hosts);
        let (_, events) = latency(policy, slow, calls);
        assert_eq!(
            reasons(&events).len(),
            found,
            "{slow} ms, {calls} calls, {hosts} hosts"
        );
    }
}

#[test]
fn one_fast_interval_ends_a_row_of_slow_ones() {
    let mut pool = Pool::with(6, bare().with_latency(LatencyMode::Enforce));
    for round in 0..12 {
        for ix in 0..6 {
            let slow = ix == 0 && round % 3 != 2;
            let ms = if slow { 50 } else { 10 };
            for _ in 0..600 {
                pool.set[ix].record(ms * MS, Outcome::Success, pool.now + 9 * SECOND);
            }
        }
        let events = interval(&mut pool, &[(60, 0); 6]);
        assert_eq!(events, [], "round {round}");
    }
}

#[test]
fn turning_the_new_rules_off_lets_everybody_back() {
    let mut pool = Pool::with(5, bare().with_failure_percentage_threshold(85));
    let mut all = vec![(100, 0); 5];
    all[0] = (100, 100);
    assert_eq!(interval(&mut pool, &all).len(), 1);
    pool.policy = bare();
    assert_eq!(pool.end_interval(), [Event::Restored { ix: 0 }]);
}

#[test]
fn with_all_rules_on_and_everything_failing_the_floor_holds_for_1000_seeds() {
    let mut told = 0;
    for seed in 0..1000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let count = rng.u16(1..=12);
        let mut pool = Pool::with(
            count,
            EjectionPolicy::default()
                .with_consecutive_gateway(3)
                .with_success_rate(true)
                .with_failure_percentage_threshold(85)
                .with_latency(LatencyMode::Enforce),
        );
        let balancer = Balancer::new(&BalancePolicy::default());
        // Two intervals of nothing but 5xx, swept each second.
        for step in 0..300_u32 {
            pool.now += rng.u32(0..140) * MS;
            let ix = match balancer.pick(&pool.set, pool.now, &[], &mut rng) {
                Some(ix) => ix,
                None => panic!("nothing to pick, seed {seed}"),
            };
            let mut events = pool.observe(ix, Observed::Gateway, 1);
            if step % 15 == 0 {
                events.extend(pool.sweep());
            }
            let wide = Withheld::ServiceWide;
            told += events
                .iter()
                .filter(|e| matches!(e, Event::Withheld { why } if *why == wide))
                .count();
            pool.set[ix].record(MS, Outcome::Failure { retry_after: None }, pool.now);
            let out = pool.out();
            assert!(
                out * 2 <= usize::from(count),
                "{out} of {count}, seed {seed}"
            );
            assert!(out < usize::from(count), "seed {seed}");
        }
    }
    assert!(told > 1000, "the brake says why: {told}");
}

#[test]
fn when_all_return_at_once_each_gets_one_probe_and_no_herd() {
    let mut pool = Pool::with(10, bare().with_consecutive_errors(5));
    for ix in 0..5 {
        (5..10).for_each(|peer| pool.serve(peer, 1));
        pool.eject(ix);
    }
    pool.now += 8 * SECOND;
    let balancer = Balancer::new(&BalancePolicy::default());
    let mut rng = fastrand::Rng::with_seed(1);
    let mut hits = [0; 10];
    let mut load = Vec::new();
    for _ in 0..200 {
        let ix = balancer.pick(&pool.set, pool.now, &[], &mut rng).unwrap();
        hits[ix] += 1;
        load.push(pool.set[ix].begin());
    }
    assert_eq!(hits[..5], [1; 5], "one probe each while it is out");
    for ix in 0..5 {
        pool.record(ix, true);
    }
    drop(load);
    // Back, they take a share that grows: at the first moment far below the others'.
    let random = Balancer::new(&BalancePolicy::default().with_algorithm(Algorithm::Random));
    let back = (0..10_000)
        .filter(|_| random.pick(&pool.set, pool.now, &[], &mut rng) < Some(5))
        .count();
    assert!(back < 1500, "{back} of 10,000 at half the endpoints");
}
