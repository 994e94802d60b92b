use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{SECOND, beside, join, orders};
use crate::breaker::{Breaker, Event, Permit, Phase};
use crate::policy::BreakerPolicy;

const MS: Duration = Duration::from_millis(1);

/// Opens at the first failed call; `half` calls decide whether it closes.
fn breaker(half: u32) -> Arc<Breaker> {
    let policy = BreakerPolicy::default()
        .with_window(2)
        .with_minimum_calls(2)
        .with_half_open_calls(half);
    Arc::new(Breaker::new(&policy))
}

/// Open since `now`; its time is up 60 s later.
fn open(half: u32, now: Instant) -> Arc<Breaker> {
    let breaker = breaker(half);
    for _ in 0..2 {
        if let Ok(mut permit) = breaker.admit(now) {
            permit.record(true, MS, now);
        }
    }
    assert_eq!(breaker.phase(), Phase::Open);
    breaker
}

#[test]
fn half_open_lets_as_many_pass_as_it_says() {
    orders(3, "breaker, half open", |now| {
        let breaker = open(1, now);
        let now = now + 60 * SECOND;
        let admit = move |breaker: &Arc<Breaker>| breaker.admit(now).ok();
        let others = [beside(&breaker, admit), beside(&breaker, admit)];
        let mine = admit(&breaker);
        let passed: Vec<Option<Permit>> = others.into_iter().map(join).chain([mine]).collect();
        assert_eq!(passed.iter().flatten().count(), 1);
    });
}

#[test]
fn a_cancelled_call_gives_its_place_back() {
    orders(3, "breaker, cancelled", |now| {
        let breaker = open(1, now);
        let now = now + 60 * SECOND;
        let cancelled = move |breaker: &Arc<Breaker>| drop(breaker.admit(now));
        let other = beside(&breaker, cancelled);
        cancelled(&breaker);
        join(other);
        let held = breaker.admit(now);
        assert!(held.is_ok(), "nobody is let in any more");
        assert!(breaker.admit(now).is_err(), "more are let in than before");
    });
}

#[test]
fn one_thread_is_told_that_it_opened() {
    orders(3, "breaker, opened", |now| {
        let breaker = breaker(1);
        let fail = move |breaker: &Arc<Breaker>| {
            let mut told = 0;
            for _ in 0..2 {
                let event = breaker
                    .admit(now)
                    .ok()
                    .and_then(|mut permit| permit.record(true, MS, now));
                told += usize::from(matches!(event, Some(Event::Opened { .. })));
            }
            told
        };
        let other = beside(&breaker, fail);
        let told = fail(&breaker) + join(other);
        assert_eq!((told, breaker.totals().1), (1, 1));
        assert!(breaker.admit(now).is_err(), "open, and its time has begun");
    });
}

#[test]
fn two_that_fail_half_open_never_close_it() {
    orders(3, "breaker, fails again", |now| {
        let breaker = open(2, now);
        let now = now + 60 * SECOND;
        let fail = move |breaker: &Arc<Breaker>| {
            let mut permit = breaker.admit(now).ok()?;
            permit.record(true, MS, now)
        };
        let other = beside(&breaker, fail);
        let events = [fail(&breaker), join(other)];
        assert!(!events.contains(&Some(Event::Closed)), "{events:?}");
        assert_eq!(breaker.phase(), Phase::Open, "{events:?}");
    });
}
