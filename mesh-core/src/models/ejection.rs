use std::sync::Arc;
use std::time::Instant;

use super::{SECOND, beside, join, orders};
use crate::balance::{EndpointInfo, EndpointSet};
use crate::ejection::{Detector, Event};
use crate::policy::EjectionPolicy;

struct Pool {
    detector: Detector,
    policy: EjectionPolicy,
    set: EndpointSet,
}

impl Pool {
    /// Where the first failure ejects.
    fn new(count: u8, most_percent: u32) -> Arc<Self> {
        let infos = (0..count).map(|n| EndpointInfo::new(([10, 0, 0, n], 80).into()));
        Arc::new(Self {
            detector: Detector::with_seed(1),
            policy: EjectionPolicy::default()
                .with_consecutive_errors(1)
                .with_failure_percent(0)
                .with_max_ejected_percent(most_percent),
            set: EndpointSet::new(infos),
        })
    }

    fn record(&self, ix: usize, ok: bool, now: Instant) -> Option<Event> {
        self.detector.record(&self.policy, &self.set, ix, ok, now)
    }

    fn available(&self) -> usize {
        let is = |e: &&Arc<crate::balance::EndpointState>| e.ejection().is_available();
        self.set.iter().filter(is).count()
    }
}

#[test]
fn two_that_fail_at_once_leave_one() {
    orders(3, "ejection, floor", |now| {
        let pool = Pool::new(2, 100);
        let other = beside(&pool, move |pool| pool.record(1, false, now));
        pool.record(0, false, now);
        join(other);
        assert!(pool.available() >= 1, "the pool is empty");
    });
}

#[test]
fn two_that_fail_at_once_keep_to_the_cap() {
    orders(3, "ejection, cap", |now| {
        let pool = Pool::new(3, 34);
        let other = beside(&pool, move |pool| pool.record(1, false, now));
        pool.record(0, false, now);
        join(other);
        assert!(pool.available() >= 2, "{} available", pool.available());
    });
}

#[test]
fn one_endpoint_that_fails_twice_at_once_is_ejected_once() {
    orders(1, "ejection, twice", |now| {
        let pool = Pool::new(2, 100);
        let fails = move |pool: &Arc<Pool>| match pool.record(0, false, now) {
            Some(Event::Ejected { until, .. }) => {
                assert_eq!(until, now + pool.policy.eject_for(), "a longer time");
                1
            }
            _ => 0,
        };
        let other = beside(&pool, fails);
        let told = fails(&pool) + join(other);
        assert!(told <= 1, "told {told} times");
    });
}

/// The late failure of an earlier probe, as a later one succeeds and the other endpoint is ejected.
#[test]
fn a_late_failure_of_a_probe_ejects_nobody_beyond_the_floor() {
    for late in [8, 31] {
        orders(1, "ejection, late probe", move |now| {
            let pool = Pool::new(2, 100);
            assert!(pool.record(0, false, now).is_some());
            let now = now + late * SECOND;
            assert!(pool.set.endpoints()[0].claim(now));
            let other = beside(&pool, move |pool| pool.record(0, false, now));
            pool.record(0, true, now);
            pool.record(1, false, now);
            join(other);
            assert!(pool.available() >= 1, "the pool is empty");
        });
    }
}
