//! Faults made on purpose: which call of a route is delayed or answered with an error.
//!
//! The decision is a function of the fault's seed and the number of the call among those that the
//! fault is meant for, so a run can be repeated exactly; without a seed it is chance. Delay and error
//! are drawn apart from one another (Envoy's fault filter does the same): a call may have both, the
//! delay first.
//!
//! A fault passes calls by when its time is over, when the call lacks its header, and when as many
//! calls as it may hold at a time are under it already: an experiment must not become the outage that
//! it rehearses.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use twox_hash::XxHash64;

use crate::ceiling::{Ceiling, Permit};
use crate::policy::model::{AbortStatus, Fault, WHOLE_PERCENT_MILLI};
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a process remembers of one fault, over all changes of its policy.
#[derive(Debug)]
pub struct Injector {
    calls: AtomicU64,
    active: Ceiling,
}

/// What is done to one call. While it is held the call counts as active.
#[derive(Debug)]
pub struct Injection {
    delay: Option<Duration>,
    abort: Option<AbortStatus>,
    _active: Permit,
}

// === impl Injector ===

impl Default for Injector {
    fn default() -> Self {
        Self {
            calls: AtomicU64::new(0),
            active: Ceiling::new(0),
        }
    }
}

impl Injector {
    /// What `fault` does to a call with these headers that is made at `now`. `None` is nothing, and
    /// the rule. Takes no lock and allocates nothing but the permit's count.
    pub fn decide(
        &self,
        fault: &Fault,
        headers: &HeaderMap,
        now: SystemTime,
        rng: &mut fastrand::Rng,
    ) -> Option<Injection> {
        if fault.is_over(now) || !is_meant(fault, headers) {
            return None;
        }
        let draws = match fault.seed() {
            Some(seed) => {
                let number = self.calls.fetch_add(1, Relaxed);
                XxHash64::oneshot(seed, &number.to_le_bytes())
            }
            None => rng.u64(..),
        };
        // Two numbers from one: each half decides about one of the two.
        let hit =
            |half: u64, part: u32| (half * u64::from(WHOLE_PERCENT_MILLI)) >> 32 < u64::from(part);
        let delay = fault
            .delay()
            .filter(|delay| hit(draws >> 32, delay.percent_milli()))
            .map(|delay| delay.duration());
        let abort = fault
            .abort()
            .filter(|abort| hit(draws & u64::from(u32::MAX), abort.percent_milli()))
            .map(|abort| abort.status());
        if delay.is_none() && abort.is_none() {
            return None;
        }
        if self.active.limit() != fault.max_active() {
            self.active.set_limit(fault.max_active());
        }
        let _active = self.active.try_acquire()?;
        Some(Injection {
            delay,
            abort,
            _active,
        })
    }

    /// How many calls are under the fault now.
    pub fn active(&self) -> u32 {
        self.active.used()
    }
}

fn is_meant(fault: &Fault, headers: &HeaderMap) -> bool {
    match fault.header() {
        None => true,
        Some((name, None)) => headers.contains_key(name),
        Some((name, Some(value))) => headers.get_all(name).iter().any(|found| found == value),
    }
}

// === impl Injection ===

impl Injection {
    /// How long the call waits first.
    pub fn delay(&self) -> Option<Duration> {
        self.delay
    }

    /// What it is answered with then, without being sent.
    pub fn abort(&self) -> Option<AbortStatus> {
        self.abort
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::{HeaderName, HeaderValue, StatusCode};

    use super::*;

    const ABORT: AbortStatus = AbortStatus::Http(StatusCode::SERVICE_UNAVAILABLE);
    const SECOND: Duration = Duration::from_secs(1);

    fn both(seed: u64) -> Fault {
        Fault::new("shop/slow")
            .with_delay(SECOND, 30_000)
            .with_abort(ABORT, 10_000)
            .with_seed(Some(seed))
            .with_max_active(u32::MAX)
    }

    fn run(fault: &Fault, calls: usize) -> Vec<(bool, bool)> {
        let injector = Injector::default();
        let mut rng = fastrand::Rng::with_seed(1);
        let mut decide = || injector.decide(fault, &HeaderMap::new(), UNIX_EPOCH, &mut rng);
        let seen =
            |injection: Injection| (injection.delay().is_some(), injection.abort().is_some());
        (0..calls)
            .map(|_| decide().map_or((false, false), seen))
            .collect()
    }

    #[test]
    fn one_seed_is_one_run_and_another_is_another() {
        assert_eq!(run(&both(7), 1000), run(&both(7), 1000));
        assert_ne!(run(&both(7), 1000), run(&both(8), 1000));
    }

    #[test]
    fn delays_and_errors_have_their_parts_independently() {
        for fault in [both(7), both(7).with_seed(None)] {
            let run = run(&fault, 100_000);
            let count = |is: fn(&(bool, bool)) -> bool| run.iter().filter(|seen| is(seen)).count();
            let (delayed, failed) = (count(|s| s.0), count(|s| s.1));
            let both = count(|s| s.0 && s.1);
            assert!(delayed.abs_diff(30_000) < 600, "{delayed}");
            assert!(failed.abs_diff(10_000) < 400, "{failed}");
            assert!(both.abs_diff(3_000) < 250, "{both}");
        }
        let all = Fault::new("all")
            .with_abort(ABORT, WHOLE_PERCENT_MILLI)
            .with_seed(Some(3));
        assert!(run(&all, 1000).iter().all(|seen| seen.1));
        let none = Fault::new("none").with_abort(ABORT, 0).with_seed(Some(3));
        assert!(run(&none, 1000).iter().all(|seen| !seen.1));
    }

    #[test]
    fn only_calls_with_the_header_are_meant_and_counted() {
        let name = HeaderName::from_static("x-fault");
        let value = HeaderValue::from_static("on");
        let all = Fault::new("f").with_abort(ABORT, WHOLE_PERCENT_MILLI);
        let (any, exact) = (
            all.clone().with_header(name.clone(), None),
            all.with_header(name.clone(), Some(value)),
        );
        let injector = Injector::default();
        let mut rng = fastrand::Rng::with_seed(1);
        let mut hit = |fault: &Fault, text: Option<&'static str>| {
            let headers = text.map(|text| (name.clone(), HeaderValue::from_static(text)));
            let headers: HeaderMap = headers.into_iter().collect();
            injector
                .decide(fault, &headers, UNIX_EPOCH, &mut rng)
                .is_some()
        };
        assert!(hit(&any, Some("x")) && !hit(&any, None));
        assert!(hit(&exact, Some("on")) && !hit(&exact, Some("x")) && !hit(&exact, None));
    }

    #[test]
    fn it_ends_by_the_wall_clock_that_is_passed_in() {
        let end = UNIX_EPOCH + SECOND;
        let fault = Fault::new("f")
            .with_abort(ABORT, WHOLE_PERCENT_MILLI)
            .with_expires(Some(end));
        let injector = Injector::default();
        let mut rng = fastrand::Rng::with_seed(1);
        let mut hit = |now| {
            injector
                .decide(&fault, &HeaderMap::new(), now, &mut rng)
                .is_some()
        };
        assert!(hit(UNIX_EPOCH));
        assert!(!hit(end));
    }

    #[test]
    fn calls_beyond_the_cap_pass_and_a_raised_cap_counts_at_once() {
        let all = Fault::new("f")
            .with_delay(SECOND, WHOLE_PERCENT_MILLI)
            .with_max_active(2);
        let injector = Injector::default();
        let mut rng = fastrand::Rng::with_seed(1);
        let mut decide =
            |fault: &Fault| injector.decide(fault, &HeaderMap::new(), UNIX_EPOCH, &mut rng);
        let (one, _two) = (decide(&all), decide(&all));
        assert!(one.is_some() && decide(&all).is_none());
        let _three = decide(&all.clone().with_max_active(3));
        assert_eq!(injector.active(), 3);
        assert!(decide(&all).is_none());
        drop(one);
        assert_eq!(injector.active(), 2);
    }
}
