use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Breaker, Event, Open, Permit, Phase};
use crate::policy::BreakerPolicy;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

struct Case {
    breaker: Arc<Breaker>,
    now: Instant,
}

fn policy() -> BreakerPolicy {
    BreakerPolicy::default()
}

impl Case {
    fn new(policy: BreakerPolicy) -> Self {
        Self {
            breaker: Arc::new(Breaker::new(&policy)),
            now: Instant::now(),
        }
    }

    /// Ten of the last ten calls count.
    fn small() -> Self {
        Self::new(policy().with_window(10).with_minimum_calls(10))
    }

    fn admit(&self) -> Result<Permit, Open> {
        self.breaker.admit(self.now)
    }

    fn call(&self, failed: bool, took: Duration) -> Option<Event> {
        match self.admit() {
            Ok(mut permit) => permit.record(failed, took, self.now),
            Err(open) => panic!("refused: {open:?}"),
        }
    }

    fn fail(&self, times: u32) -> Option<Event> {
        (0..times).filter_map(|_| self.call(true, MS)).next_back()
    }

    fn serve(&self, times: u32) -> Option<Event> {
        (0..times).filter_map(|_| self.call(false, MS)).next_back()
    }

    fn half_open() -> Self {
        let mut case = Self::small();
        assert!(case.fail(10).is_some());
        case.now += 60 * SECOND;
        case
    }
}

#[test]
fn resilience4j_defaults_open_at_50_of_100_failed() {
    let case = Case::new(policy());
    assert_eq!(case.serve(50), None);
    assert_eq!(case.fail(49), None);
    let opened = Event::Opened {
        failed: 50,
        slow: 0,
        calls: 100,
    };
    assert_eq!(case.fail(1), Some(opened));
    let Err(open) = case.admit() else {
        panic!("admitted")
    };
    assert_eq!(open.retry_after, 60 * SECOND);
    assert_eq!(case.breaker.totals(), (1, 1));
}

#[test]
fn resilience4j_fewer_than_the_minimum_never_open() {
    let case = Case::new(policy());
    assert_eq!(case.fail(99), None);
    assert_eq!(case.breaker.phase(), Phase::Closed);
    assert!(case.fail(1).is_some());
}

#[test]
fn resilience4j_49_percent_stays_closed() {
    let case = Case::new(policy());
    case.serve(51);
    case.fail(49);
    assert_eq!(case.breaker.phase(), Phase::Closed);
}

#[test]
fn resilience4j_only_the_last_calls_count() {
    let case = Case::small();
    for _ in 0..100 {
        assert_eq!(case.fail(4), None);
        assert_eq!(case.serve(6), None);
    }
}

#[test]
fn resilience4j_slow_calls_open_it_although_they_succeed() {
    let case = Case::new(policy());
    (0..99).for_each(|_| assert_eq!(case.call(false, 61 * SECOND), None));
    let opened = Event::Opened {
        failed: 0,
        slow: 100,
        calls: 100,
    };
    assert_eq!(case.call(false, 61 * SECOND), Some(opened));
    // Exactly at the limit is not slow.
    let case = Case::small();
    (0..20).for_each(|_| assert_eq!(case.call(false, 60 * SECOND), None));
}

#[test]
fn an_open_breaker_refuses_until_its_time_is_up() {
    let mut case = Case::small();
    case.fail(10);
    case.now += 60 * SECOND - MS;
    assert_eq!(case.admit().unwrap_err().retry_after, MS);
    assert_eq!(case.breaker.open_for(case.now), Some(MS));
    case.now += MS;
    assert!(case.admit().is_ok());
    assert_eq!(case.breaker.phase(), Phase::HalfOpen);
}

#[test]
fn resilience4j_half_open_lets_ten_pass_and_closes_when_they_are_well() {
    let case = Case::half_open();
    let mut permits: Vec<_> = (0..10).map(|_| case.admit().unwrap()).collect();
    assert_eq!(case.admit().unwrap_err().retry_after, Duration::ZERO);
    for permit in &mut permits[..9] {
        assert_eq!(permit.record(false, MS, case.now), None);
    }
    assert_eq!(permits[9].record(true, MS, case.now), Some(Event::Closed));
    assert_eq!(case.breaker.phase(), Phase::Closed);
    // The half-open calls are forgotten.
    assert_eq!(case.fail(9), None);
}

#[test]
fn resilience4j_half_open_opens_again_when_half_of_ten_fail() {
    let mut case = Case::half_open();
    assert_eq!(case.serve(5), None);
    assert!(matches!(
        case.fail(5),
        Some(Event::Opened {
            failed: 50,
            calls: 10,
            ..
        })
    ));
    assert_eq!(case.admit().unwrap_err().retry_after, 60 * SECOND);
    case.now += 60 * SECOND;
    assert_eq!(case.serve(10), Some(Event::Closed));
}

#[test]
fn a_cancelled_call_gives_its_place_back() {
    let case = Case::half_open();
    for _ in 0..100 {
        drop(case.admit().unwrap());
    }
    assert_eq!(case.breaker.phase(), Phase::HalfOpen);
    assert_eq!(case.serve(10), Some(Event::Closed));
}

#[test]
fn calls_from_before_a_change_of_phase_say_nothing() {
    let mut case = Case::small();
    let mut early = case.admit().unwrap();
    let dropped = case.admit().unwrap();
    case.fail(10);
    case.now += 60 * SECOND;
    let mut probe = case.admit().unwrap();
    assert_eq!(early.record(true, MS, case.now), None);
    drop(dropped);
    assert_eq!(case.breaker.phase(), Phase::HalfOpen);
    assert_eq!(probe.record(false, MS, case.now), None);
    assert_eq!(case.serve(9), Some(Event::Closed));
}

#[test]
fn a_call_is_recorded_once() {
    let case = Case::small();
    let mut permit = case.admit().unwrap();
    (0..100).for_each(|_| assert_eq!(permit.record(true, MS, case.now), None));
    assert_eq!(case.breaker.phase(), Phase::Closed);
}

#[test]
fn a_changed_policy_keeps_phase_and_counts() {
    let case = Case::small();
    case.fail(5);
    case.breaker
        .update(&policy().with_window(20).with_minimum_calls(6));
    assert!(case.fail(1).is_some(), "five were counted before");
    case.breaker.update(&policy().with_open_for(SECOND));
    assert_eq!(case.admit().unwrap_err().retry_after, 60 * SECOND);
}

#[test]
fn lowering_the_half_open_calls_leaves_nobody_waiting() {
    let case = Case::half_open();
    case.serve(5);
    let fewer = policy()
        .with_window(10)
        .with_minimum_calls(10)
        .with_half_open_calls(5);
    case.breaker.update(&fewer);
    assert_eq!(case.serve(5), Some(Event::Closed));
}

#[test]
fn threads_never_pass_more_than_the_half_open_calls() {
    for _ in 0..50 {
        let case = Case::half_open();
        let passed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let permits: Vec<_> = (0..10).filter_map(|_| case.admit().ok()).collect();
                        let passed = permits.len();
                        // Held until all threads have asked: a dropped one comes back.
                        std::mem::forget(permits);
                        passed
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(passed, 10);
    }
}

#[test]
fn one_thread_is_told_that_it_opened() {
    for _ in 0..50 {
        let case = Case::small();
        let told: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..10)
                            .filter_map(|_| case.admit().ok()?.record(true, MS, case.now))
                            .count()
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(told, 1);
    }
}
