use std::time::{Duration, Instant};

use http::Method;

use super::Hedger;
use crate::policy::HedgePolicy;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn hedger() -> Hedger {
    Hedger::new(&HedgePolicy::default())
}

#[test]
fn finagle_hedges_after_the_percentile_of_what_was_seen() {
    let (hedger, now) = (hedger(), Instant::now());
    (1..=100_u32).for_each(|ms| hedger.observe(ms * MS));
    let delay = hedger.begin(now).unwrap();
    assert!((90 * MS..=101 * MS).contains(&delay), "{delay:?}");
}

#[test]
fn finagle_the_percentile_is_computed_anew_every_3_s() {
    let (hedger, now) = (hedger(), Instant::now());
    (0..400).for_each(|_| hedger.observe(10 * MS));
    let first = hedger.begin(now).unwrap();
    (0..4000).for_each(|_| hedger.observe(100 * MS));
    assert_eq!(hedger.begin(now + 3 * SECOND - MS), Some(first));
    let next = hedger.begin(now + 3 * SECOND).unwrap();
    assert!(next > 90 * MS, "{next:?}");
}

#[test]
fn what_is_long_past_is_forgotten() {
    let (hedger, mut now) = (hedger(), Instant::now());
    (0..4000).for_each(|_| hedger.observe(500 * MS));
    for _ in 0..10 {
        now += 3 * SECOND;
        (0..300).for_each(|_| hedger.observe(10 * MS));
        hedger.begin(now);
    }
    let delay = hedger.begin(now).unwrap();
    assert!(delay < 12 * MS, "{delay:?}");
}

#[test]
fn finagle_never_before_1_ms() {
    let (hedger, now) = (hedger(), Instant::now());
    (0..100).for_each(|_| hedger.observe(20 * MS / 1000));
    assert_eq!(hedger.begin(now), Some(MS));
}

#[test]
fn before_20_latencies_are_known_nothing_is_hedged() {
    let (hedger, now) = (hedger(), Instant::now());
    (0..19).for_each(|_| hedger.observe(MS));
    assert_eq!(hedger.begin(now), None);
    hedger.observe(MS);
    assert!(hedger.begin(now + SECOND).is_some());
}

#[test]
fn a6_a_fixed_delay_needs_no_latencies_and_may_be_zero() {
    for delay in [Duration::ZERO, 7 * MS] {
        let policy = HedgePolicy::default().with_fixed_delay(Some(delay));
        assert_eq!(Hedger::new(&policy).begin(Instant::now()), Some(delay));
    }
}

#[test]
fn finagle_the_budget_is_a_share_of_the_calls_and_gives_nothing_for_free() {
    let (hedger, now) = (hedger(), Instant::now());
    assert!(!hedger.withdraw(now));
    for _ in 0..1000 {
        hedger.begin(now);
    }
    let paid = (0..1000).filter(|_| hedger.withdraw(now)).count();
    assert_eq!(paid, 50, "5 % of 1,000 calls");
    hedger.refund(now);
    assert_eq!(hedger.balance(now), 1);
    // ttl 10 s
    assert!(!hedger.withdraw(now + 12 * SECOND));
}

#[test]
fn only_calls_that_may_be_repeated_are_hedged() {
    let hedger = hedger();
    assert!(hedger.allows(&Method::GET) && hedger.allows(&Method::PUT));
    assert!(!hedger.allows(&Method::POST) && !hedger.allows(&Method::PATCH));
    hedger.update(&HedgePolicy::default().with_idempotent(true));
    assert!(hedger.allows(&Method::POST));
}

#[test]
fn a6_more_than_five_attempts_are_five() {
    let hedger = Hedger::new(&HedgePolicy::default().with_max_attempts(9));
    assert_eq!(hedger.attempts(), 5);
}

#[test]
fn a_changed_policy_keeps_latencies_and_budget() {
    let (hedger, now) = (hedger(), Instant::now());
    (0..100).for_each(|_| hedger.observe(20 * MS));
    (0..100).for_each(|_| {
        hedger.begin(now);
    });
    hedger.update(
        &HedgePolicy::default()
            .with_max_extra_percent(10)
            .with_percentile(50),
    );
    assert_eq!(hedger.balance(now), 5);
    let delay = hedger.begin(now + 3 * SECOND).unwrap();
    assert!((19 * MS..=21 * MS).contains(&delay), "{delay:?}");
}
