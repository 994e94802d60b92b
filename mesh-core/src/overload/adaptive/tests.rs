//! The formulas of semantics 10, each by hand, and what the limiter makes of them.

use std::time::Duration;

use super::*;
use crate::context::Criticality::{Critical, Sheddable};
use crate::policy::{ConcurrencyAlgorithm, ConcurrencyPolicy};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6
}

fn policy() -> ConcurrencyPolicy {
    ConcurrencyPolicy::default().with_min(1)
}

/// Past its warm-up, with a usual latency of `usual`.
fn warm(usual: Duration, limit: u32) -> Gradient2 {
    let mut gradient = Gradient2::new(&policy().with_initial(limit)).plain();
    for _ in 0..10 {
        gradient.sample(&policy(), &Sample::new(usual, 0));
    }
    gradient
}

#[test]
fn netflix_gradient2_defaults() {
    let policy = ConcurrencyPolicy::default();
    assert_eq!(policy.algorithm(), ConcurrencyAlgorithm::Gradient2);
    assert_eq!(
        (policy.initial(), policy.min(), policy.queue()),
        (20, 20, 4)
    );
    assert_eq!(
        (policy.smoothing_milli(), policy.tolerance_milli()),
        (200, 1500)
    );
    assert_eq!(policy.long_window(), 600);
}

#[test]
fn netflix_gradient2_grows_by_a_fifth_of_the_queue() {
    let mut gradient = warm(ms(10), 100);
    // gradient 1: 100 x 0.8 + (100 x 1 + 4) x 0.2
    assert!(close(
        gradient.sample(&policy(), &Sample::new(ms(10), 100)),
        100.8
    ));
    // Within the tolerance of 1.5 that is no queue.
    let next = gradient.sample(&policy(), &Sample::new(ms(14), 100));
    assert!(close(next, 101.6), "{next}");
}

#[test]
fn netflix_gradient2_shrinks_by_the_ratio() {
    let mut gradient = warm(ms(10), 100);
    let usual = 0.010 * (1.0 - 2.0 / 601.0) + 0.020 * (2.0 / 601.0);
    let expected = 100.0 * 0.8 + (100.0 * 1.5 * usual / 0.020 + 4.0) * 0.2;
    let next = gradient.sample(&policy(), &Sample::new(ms(20), 100));
    assert!(close(next, expected), "{next} {expected}");
    // Never below half of it at a time: 100 x 0.8 + (50 + 4) x 0.2
    let mut gradient = warm(ms(10), 100);
    assert!(close(
        gradient.sample(&policy(), &Sample::new(ms(900), 100)),
        90.8
    ));
}

#[test]
fn netflix_gradient2_keeps_the_limit_while_half_of_it_is_idle() {
    let mut gradient = warm(ms(10), 100);
    assert!(close(
        gradient.sample(&policy(), &Sample::new(ms(900), 49)),
        100.0
    ));
    assert!(gradient.sample(&policy(), &Sample::new(ms(900), 50)) < 100.0);
}

#[test]
fn netflix_gradient2_forgets_a_bad_time_by_a_twentieth_a_sample() {
    let mut gradient = warm(ms(100), 100);
    let usual = (0.1 * (1.0 - 2.0 / 601.0) + 0.01 * (2.0 / 601.0)) * 0.95;
    gradient.sample(&policy(), &Sample::new(ms(10), 0));
    assert!(close(gradient.usual(), usual), "{}", gradient.usual());
}

#[test]
fn netflix_gradient2_warms_up_with_a_plain_mean_of_ten() {
    let mut gradient = Gradient2::new(&policy());
    for n in 1..=10 {
        gradient.sample(&policy(), &Sample::new(ms(n), 0));
    }
    assert!(close(gradient.usual(), 0.0055));
}

#[test]
fn gradient2_stays_within_its_bounds() {
    let policy = ConcurrencyPolicy::default().with_max(30);
    let mut gradient = Gradient2::new(&policy);
    for _ in 0..100 {
        gradient.sample(&policy, &Sample::new(ms(1), 1000));
    }
    assert!(close(gradient.limit(), 30.0));
    for _ in 0..100 {
        gradient.sample(&policy, &Sample::new(ms(100), 1000));
    }
    assert!(close(gradient.limit(), 20.0));
}

#[test]
fn gradient2_grows_by_half_in_slow_start_until_a_queue_or_idleness_shows() {
    let policy = policy().with_initial(20);
    let mut gradient = Gradient2::new(&policy);
    gradient.sample(&policy, &Sample::new(ms(10), 20));
    let limit = gradient.sample(&policy, &Sample::new(ms(10), 30));
    assert!(close(limit, 45.0), "{limit}");
    let mut idle = gradient.clone();
    gradient.sample(&policy, &Sample::new(ms(30), 45));
    let before = gradient.limit();
    let after = gradient.sample(&policy, &Sample::new(ms(14), 45));
    assert!(after <= before * 1.05, "no more than a stride: {after}");
    idle.sample(&policy, &Sample::new(ms(10), 10));
    let limit = idle.sample(&policy, &Sample::new(ms(10), 45));
    assert!(close(limit, 45.0 * 1.05), "a stride: {limit}");
}

#[test]
fn gradient2_does_not_take_a_lasting_overload_for_usual() {
    let policy = policy().with_min(20);
    let mut gradient = warm(ms(10), 100);
    let mut held = Sample::new(ms(18), 100);
    held.held_back = true;
    for _ in 0..1_000 {
        gradient.sample(&policy, &held);
    }
    assert!(close(gradient.usual(), 0.010), "{}", gradient.usual());
    // Where 100 calls of 10 ms make 18 ms: 100 x 0.83 + 4.
    assert!(
        (20.0..30.0).contains(&gradient.limit()),
        "{}",
        gradient.limit()
    );

    // At the least limit it must be the service itself that is slower: that is learnt.
    held.rtt = ms(30);
    for _ in 0..5_000 {
        gradient.sample(&policy, &held);
    }
    assert!(gradient.usual() > 0.015, "{}", gradient.usual());
    assert!(gradient.limit() > 20.0);
}

#[test]
fn gradient2_that_learnt_in_a_bad_time_comes_down_even_under_load() {
    let policy = policy();
    let mut gradient = warm(ms(50), 100);
    let mut held = Sample::new(ms(10), 100);
    held.held_back = true;
    for _ in 0..50 {
        gradient.sample(&policy, &held);
    }
    assert!(gradient.usual() < 0.021, "{}", gradient.usual());
}

fn vegas(limit: u32, least: Duration) -> Vegas {
    let policy = policy().with_initial(limit);
    let mut vegas = Vegas::new(&policy, fastrand::Rng::with_seed(1));
    vegas.sample(&policy, &Sample::new(least, limit));
    vegas
}

#[test]
fn netflix_vegas_by_the_size_of_the_queue() {
    // limit 100: log10 = 2, alpha = 6, beta = 12. queue = ceil(100 x (1 - 10 / rtt))
    for (micros, queue, expected) in [
        (10_000, 0, 112.0),  // <= threshold: + beta
        (10_200, 2, 112.0),  // <= threshold: + beta
        (10_400, 4, 102.0),  // < alpha: + log10
        (10_600, 6, 100.0),  // between: unchanged
        (11_300, 12, 100.0), // between: unchanged
        (11_500, 14, 98.0),  // > beta: - log10
    ] {
        let mut vegas = vegas(100, ms(10));
        let rtt = Duration::from_micros(micros);
        let limit = vegas.sample(&policy(), &Sample::new(rtt, 100));
        assert!(close(limit, expected), "queue {queue}: {limit}");
    }
}

#[test]
fn netflix_vegas_takes_a_step_back_after_a_drop_and_none_when_idle() {
    let mut vegas = vegas(100, ms(10));
    let mut dropped = Sample::new(ms(10), 1);
    dropped.dropped = true;
    assert!(close(vegas.sample(&policy(), &dropped), 98.0));
    assert!(close(
        vegas.sample(&policy(), &Sample::new(ms(10), 48)),
        98.0
    ));
}

#[test]
fn netflix_vegas_measures_the_least_latency_anew_after_thirty_limits() {
    let mut vegas = vegas(10, ms(10));
    let policy = policy().with_max(10);
    let mut after = 1;
    while close(vegas.least(), 0.010) {
        vegas.sample(&policy, &Sample::new(ms(30), 10));
        after += 1;
        assert!(after <= 300);
    }
    // Jittered between half and the whole of 30 x 10; the limit fell on the way, so a little less.
    assert!((30..=300).contains(&after), "{after}");
    assert!(close(vegas.least(), 0.030));
}

#[test]
fn vegas_does_not_measure_a_latency_of_our_own_making() {
    let mut vegas = vegas(100, ms(10));
    let policy = policy().with_min(90);
    let mut held = Sample::new(Duration::from_micros(10_600), 100);
    held.held_back = true;
    for _ in 0..20_000 {
        vegas.sample(&policy, &held);
    }
    assert!(close(vegas.least(), 0.010));
}

#[test]
fn netflix_aimd_steps() {
    let policy = policy().with_initial(100);
    assert_eq!(policy.backoff_milli(), 900);
    assert_eq!(policy.slow_after(), Duration::from_secs(5));
    let mut aimd = Aimd::new(&policy);
    assert!(close(aimd.sample(&policy, &Sample::new(ms(10), 49)), 100.0));
    assert!(close(aimd.sample(&policy, &Sample::new(ms(10), 50)), 101.0));
    let mut dropped = Sample::new(ms(10), 50);
    dropped.dropped = true;
    assert!(close(aimd.sample(&policy, &dropped), 90.0));
    assert!(close(
        aimd.sample(&policy, &Sample::new(ms(5_001), 50)),
        81.0
    ));
    assert!(close(
        aimd.sample(&policy, &Sample::new(ms(5_000), 50)),
        82.0
    ));
}

#[test]
fn a_limiter_learns_from_windows_and_admits_by_level() {
    let limiter = Limiter::new(&ConcurrencyPolicy::default());
    assert_eq!(limiter.limit(), 20);
    for _ in 0..20 {
        assert!(limiter.admit(Critical));
    }
    assert!(!limiter.admit(Critical));
    for n in 1..=19 {
        assert!(!limiter.record(ms(10), false), "{n}");
    }
    assert!(
        limiter.record(ms(10), false),
        "the twentieth ends the window"
    );
    assert_eq!(limiter.limit(), 30);
    assert!(!limiter.admit(Sheddable), "60 % of 30 are in work");
    assert!(limiter.admit(Critical));
}

#[test]
fn a_changed_policy_keeps_what_was_found() {
    let limiter = Limiter::new(&ConcurrencyPolicy::default());
    limiter.admit(Critical);
    for _ in 0..20 {
        limiter.admit(Critical);
    }
    for _ in 0..20 {
        limiter.record(ms(10), false);
    }
    assert_eq!(limiter.limit(), 30);
    limiter.update(&ConcurrencyPolicy::default().with_max(500));
    assert_eq!((limiter.limit(), limiter.in_work()), (30, 20));
    limiter.update(&ConcurrencyPolicy::default().with_max(25));
    assert_eq!(limiter.limit(), 25);
    let fixed = ConcurrencyPolicy::default().with_algorithm(ConcurrencyAlgorithm::Fixed);
    limiter.update(&fixed.with_initial(7));
    assert_eq!((limiter.limit(), limiter.in_work()), (7, 20));
}

#[test]
fn threads_never_exceed_the_limit() {
    let policy = ConcurrencyPolicy::default()
        .with_algorithm(ConcurrencyAlgorithm::Fixed)
        .with_initial(5);
    let limiter = Limiter::new(&policy);
    let most = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    if limiter.admit(Critical) {
                        most.fetch_max(limiter.in_work(), std::sync::atomic::Ordering::Relaxed);
                        limiter.record(ms(1), false);
                        limiter.leave();
                    }
                }
            });
        }
    });
    assert!(most.into_inner() <= 5);
    assert_eq!(limiter.in_work(), 0);
}
