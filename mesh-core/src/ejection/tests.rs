use std::time::{Duration, Instant};

use super::*;
use crate::balance::{Balancer, EndpointInfo, EndpointSet, Outcome};
use crate::policy::model::Algorithm;
use crate::policy::{BalancePolicy, EjectionPolicy};
use crate::report::EndpointHealth;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

pub(super) struct Pool {
    pub(super) detector: Detector,
    pub(super) policy: EjectionPolicy,
    pub(super) set: EndpointSet,
    pub(super) now: Instant,
}

impl Pool {
    pub(super) fn new(count: u16) -> Self {
        let info = |port| EndpointInfo::new(([10, 0, 0, 1], port).into());
        Self {
            detector: Detector::new(),
            policy: EjectionPolicy::default(),
            set: EndpointSet::new((1..=count).map(info)),
            now: Instant::now(),
        }
    }

    pub(super) fn record(&self, ix: usize, ok: bool) -> Option<Event> {
        self.detector
            .record(&self.policy, &self.set, ix, ok, self.now)
    }

    pub(super) fn fail(&self, ix: usize, times: usize) -> Vec<Event> {
        (0..times).filter_map(|_| self.record(ix, false)).collect()
    }

    pub(super) fn serve(&self, ix: usize, times: usize) {
        for _ in 0..times {
            assert_eq!(self.record(ix, true), None);
        }
    }

    pub(super) fn out(&self) -> usize {
        self.set
            .iter()
            .filter(|e| !e.ejection().is_available())
            .count()
    }

    pub(super) fn eject(&self, ix: usize) -> Instant {
        match self.fail(ix, 5).last() {
            Some(Event::Ejected { until, .. }) => *until,
            other => panic!("{other:?}"),
        }
    }

    /// Claims the probe as a pick does.
    pub(super) fn probe(&self, ix: usize) -> bool {
        self.set[ix].claim(self.now)
    }
}

#[test]
fn the_fifth_failure_in_a_row_ejects_for_30_s() {
    let pool = Pool::new(3);
    (0..3).for_each(|ix| pool.serve(ix, 1));
    assert_eq!(pool.fail(0, 4), []);
    let expected = Event::Ejected {
        ix: 0,
        reason: EjectReason::Consecutive { errors: 5 },
        until: pool.now + 30 * SECOND,
    };
    assert_eq!(pool.fail(0, 1), [expected]);
    assert_eq!(pool.set[0].health(), EndpointHealth::Ejected);
    assert!(!pool.set[0].is_available(pool.now));
}

#[test]
fn one_success_ends_a_row() {
    let pool = Pool::new(3);
    for _ in 0..2 {
        assert_eq!(pool.fail(0, 4), []);
        pool.serve(0, 1);
    }
    assert_eq!(pool.out(), 0);
}

#[test]
fn a_fifth_of_twenty_calls_ejects_when_the_peers_are_well() {
    let pool = Pool::new(3);
    (1..3).for_each(|ix| pool.serve(ix, 20));
    for round in 0..4 {
        pool.serve(0, 4);
        let events = pool.fail(0, 1);
        assert_eq!(events.is_empty(), round < 3, "{events:?}");
        if let Some(Event::Ejected { reason, .. }) = events.first() {
            assert_eq!(reason.to_string(), "20% failed of 20 calls, peers 0%");
        }
    }
    assert_eq!(pool.out(), 1);
}

#[test]
fn fewer_than_twenty_calls_say_nothing_about_a_rate() {
    let pool = Pool::new(3);
    pool.serve(1, 20);
    for _ in 0..4 {
        pool.serve(0, 1);
        assert_eq!(pool.fail(0, 3), []);
    }
}

#[test]
fn a_rate_that_the_peers_share_by_half_is_no_outlier() {
    let pool = Pool::new(3);
    // The peers fail 15 %, the endpoint 30 %: not less than half as much.
    for ix in [1, 2] {
        for _ in 0..3 {
            for calls in [6, 6, 5] {
                pool.fail(ix, 1);
                pool.serve(ix, calls);
            }
        }
    }
    for _ in 0..10 {
        pool.serve(0, 7);
        assert_eq!(pool.fail(0, 3), []);
    }
    assert_eq!(pool.out(), 0);
}

#[test]
fn calls_older_than_the_interval_do_not_count() {
    let mut pool = Pool::new(3);
    pool.serve(1, 20);
    pool.serve(0, 14);
    assert_eq!(pool.fail(0, 3), []);
    pool.now += 11 * SECOND;
    pool.serve(0, 1);
    assert_eq!(pool.fail(0, 3), []);
}

#[test]
fn at_most_half_are_out_and_never_the_last() {
    for (count, most) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (10, 5)] {
        let mut pool = Pool::new(count);
        for round in 0..200 {
            pool.now += 150 * MS;
            for ix in 0..usize::from(count) {
                // One after the other, so that the brake does not see them fail together.
                if round / 20 == ix {
                    pool.fail(ix, 5);
                } else {
                    pool.record(ix, true);
                }
            }
            assert!(pool.out() <= most, "{} of {count}", pool.out());
        }
        assert_eq!(pool.out(), most, "{count}");
    }
}

#[test]
fn an_unreachable_peer_does_not_count_as_available() {
    let pool = Pool::new(2);
    pool.set[1].connect_failed(pool.now);
    let why = Withheld::LastAvailable;
    let withheld = Event::Withheld { why };
    assert_eq!(pool.fail(0, 5), [withheld]);
    assert_eq!(pool.out(), 0);
}

#[test]
fn a_service_that_fails_as_a_whole_loses_nobody() {
    let mut pool = Pool::new(6);
    let mut told = 0;
    for _ in 0..100 {
        pool.now += 20 * MS;
        for ix in 0..6 {
            match pool.record(ix, false) {
                None => {}
                Some(Event::Withheld { why }) => {
                    assert_eq!(why, Withheld::ServiceWide);
                    told += 1;
                }
                Some(other) => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(pool.out(), 0);
    // Two seconds: told once a second, not at each call.
    assert!((1..=3).contains(&told), "{told}");
}

#[test]
fn each_ejection_in_a_row_lasts_longer_up_to_300_s() {
    let mut pool = Pool::new(3);
    let mut until = pool.eject(0);
    for times in 2..=12_u32 {
        pool.now = until + MS;
        assert!(pool.probe(0));
        let Some(Event::Ejected {
            until: next,
            reason,
            ..
        }) = pool.record(0, false)
        else {
            panic!("the probe failed");
        };
        assert_eq!(reason, EjectReason::Probe);
        assert_eq!(next - pool.now, (30 * times).min(300) * SECOND);
        until = next;
    }
}

#[test]
fn each_interval_of_health_takes_one_off() {
    let mut pool = Pool::new(3);
    for (healthy, expected) in [(0, 30), (1, 60), (1, 90), (25, 60), (1000, 30)] {
        pool.now += healthy * SECOND;
        let until = pool.eject(0);
        assert_eq!(until - pool.now, expected * SECOND, "after {healthy} s");
        pool.now = until + MS;
        assert!(pool.probe(0));
        assert_eq!(pool.record(0, true), Some(Event::Restored { ix: 0 }));
    }
}

#[test]
fn one_probe_decides_and_the_others_wait_for_it() {
    let mut pool = Pool::new(3);
    pool.eject(0);
    pool.now += 30 * SECOND / 4 - MS;
    assert!(!pool.probe(0));
    assert_eq!(pool.detector.sweep(&pool.policy, &pool.set, pool.now), []);
    pool.now += 2 * MS;
    let probing = [Event::Probing { ix: 0 }];
    assert_eq!(
        pool.detector.sweep(&pool.policy, &pool.set, pool.now),
        probing
    );
    assert_eq!(pool.detector.sweep(&pool.policy, &pool.set, pool.now), []);
    assert!(pool.probe(0));
    assert!(!pool.probe(0));
    assert_eq!(pool.set[0].health(), EndpointHealth::Probing);
    assert_eq!(pool.record(0, true), Some(Event::Restored { ix: 0 }));
    assert!(pool.set[0].is_available(pool.now));
}

#[test]
fn an_endpoint_that_is_well_again_is_back_after_a_quarter_of_its_time() {
    let mut pool = Pool::new(3);
    let until = pool.eject(0);
    pool.now += 30 * SECOND / 4;
    assert!(pool.probe(0));
    assert_eq!(pool.record(0, true), Some(Event::Restored { ix: 0 }));
    assert!(pool.now < until - 22 * SECOND);
}

#[test]
fn a_probe_that_fails_before_the_time_is_up_does_not_prolong_it() {
    let mut pool = Pool::new(3);
    let until = pool.eject(0);
    let mut probes = 0;
    while pool.now < until {
        pool.now += 100 * MS;
        if pool.probe(0) {
            probes += 1;
            match pool.record(0, false) {
                Some(Event::ProbeFailed { again, .. }) => assert!(again <= until + MS),
                Some(Event::Ejected { until: next, .. }) => {
                    assert_eq!(next - pool.now, 60 * SECOND);
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(probes, 4);
}

#[test]
fn a_probe_whose_caller_went_away_is_given_to_another_after_5_s() {
    let mut pool = Pool::new(3);
    pool.now = pool.eject(0);
    assert!(pool.probe(0));
    pool.now += 5 * SECOND - MS;
    assert!(!pool.probe(0));
    pool.now += MS;
    assert!(pool.probe(0));
}

#[test]
fn answers_to_calls_from_before_the_ejection_change_nothing() {
    let pool = Pool::new(3);
    pool.eject(0);
    pool.serve(0, 10);
    assert_eq!(pool.fail(0, 10), []);
    assert_eq!(pool.set[0].health(), EndpointHealth::Ejected);
}

#[test]
fn a_restored_endpoint_takes_its_share_slowly() {
    let mut pool = Pool::new(2);
    let balance = BalancePolicy::default();
    pool.now = pool.eject(0);
    assert!(pool.probe(0));
    pool.record(0, true);
    let random = Balancer::new(&balance.with_algorithm(Algorithm::Random));
    let mut rng = fastrand::Rng::with_seed(5);
    for (after, low, high) in [(0, 60, 130), (5, 280, 390), (11, 450, 550)] {
        let now = pool.now + after * SECOND;
        let hits = (0..1000)
            .filter(|_| random.pick(&pool.set, now, &[], &mut rng) == Some(0))
            .count();
        assert!((low..=high).contains(&hits), "{hits} after {after} s");
    }
}

#[test]
fn a_pick_makes_the_probe_and_only_one() {
    let mut pool = Pool::new(3);
    for _ in 0..5 {
        let failure = Outcome::Failure { retry_after: None };
        pool.set[0].record(MS, failure, pool.now);
    }
    pool.now = pool.eject(0) + MS;
    let balancer = Balancer::new(&BalancePolicy::default());
    let mut rng = fastrand::Rng::with_seed(5);
    let picks: Vec<_> = (0..100)
        .filter_map(|_| balancer.choose(&pool.set, pool.now, &[], &mut rng))
        .filter(|pick| pick.index == 0)
        .collect();
    assert!(
        matches!(picks[..], [pick] if pick.probe && !pick.panic),
        "{picks:?}"
    );
}

#[test]
fn turned_off_it_ejects_nobody_and_lets_everybody_back() {
    let mut pool = Pool::new(3);
    pool.eject(0);
    pool.policy = pool
        .policy
        .with_consecutive_errors(0)
        .with_failure_percent(0);
    let restored = [Event::Restored { ix: 0 }];
    assert_eq!(
        pool.detector.sweep(&pool.policy, &pool.set, pool.now),
        restored
    );
    assert_eq!(pool.fail(1, 100), []);
}

#[test]
fn a_position_that_does_not_exist_is_ignored() {
    assert_eq!(Pool::new(2).record(7, false), None);
}

#[test]
fn with_everything_failing_the_floor_holds_for_1000_seeds() {
    let mut most = 0.0_f64;
    for seed in 0..1000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let count = rng.u16(1..=12);
        let mut pool = Pool::new(count);
        let balancer = Balancer::new(&BalancePolicy::default());
        for _ in 0..400 {
            pool.now += rng.u32(0..200) * MS;
            let Some(ix) = balancer.pick(&pool.set, pool.now, &[], &mut rng) else {
                panic!("nothing to pick, seed {seed}");
            };
            pool.record(ix, false);
            pool.set[ix].record(MS, Outcome::Failure { retry_after: None }, pool.now);
            let out = pool.out();
            most = most.max(out as f64 / f64::from(count));
            assert!(
                out * 2 <= usize::from(count),
                "{out} of {count}, seed {seed}"
            );
            assert!(out < usize::from(count), "seed {seed}");
        }
    }
    println!(
        "100 % 5xx, 1,000 seeds: at most {:.0} % were out at a time",
        most * 100.0
    );
}

#[test]
fn threads_that_fail_different_endpoints_at_once_never_break_the_floor() {
    let pool = Pool::new(4);
    std::thread::scope(|scope| {
        for ix in 0..4 {
            let pool = &pool;
            scope.spawn(move || {
                for i in 0..2000_u32 {
                    let now = pool.now + i * MS;
                    pool.detector
                        .record(&pool.policy, &pool.set, ix, false, now);
                    assert!(pool.out() <= 2);
                }
            });
        }
    });
}

/// The figure behind the rate rule: one of three endpoints fails 30 %, 50 calls a second, round
/// robin. Median over 300 runs of the time until it is ejected.
#[test]
fn one_of_three_failing_30_percent_is_out_within_seconds() {
    let mut times: Vec<u128> = (0..300)
        .map(|seed| {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut pool = Pool::new(3);
            let start = pool.now;
            for call in 0_usize.. {
                pool.now += 20 * MS;
                let ix = call % 3;
                pool.record(ix, ix != 0 || rng.f64() >= 0.3);
                if pool.out() > 0 || call > 5000 {
                    break;
                }
            }
            assert_ne!(pool.set[0].health(), EndpointHealth::Available);
            (pool.now - start).as_millis()
        })
        .collect();
    times.sort_unstable();
    assert!(times[150] <= 2000, "median {} ms", times[150]);
}
