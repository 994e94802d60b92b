use std::time::{Duration, Instant};

use super::{Throttle, Ticket};
use crate::context::Criticality::{self, Critical, CriticalPlus, Sheddable, SheddablePlus};
use crate::policy::ThrottlePolicy;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

struct Case {
    throttle: Throttle,
    now: Instant,
    rng: fastrand::Rng,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            throttle: Throttle::default(),
            now: Instant::now(),
            rng: fastrand::Rng::with_seed(3),
        }
    }
}

impl Case {
    fn admit(&mut self, criticality: Criticality) -> Option<Ticket> {
        self.throttle.admit(criticality, self.now, &mut self.rng)
    }

    /// So many attempts, of which the backend refuses some.
    fn history(&mut self, criticality: Criticality, requests: usize, accepts: usize) {
        let tickets: Vec<_> = (0..requests)
            .map(|_| self.throttle.count(criticality, self.now))
            .collect();
        for ticket in tickets.into_iter().skip(accepts) {
            self.throttle.refused(ticket, self.now);
        }
    }

    fn share(&self, criticality: Criticality) -> f64 {
        self.throttle.reject_share(criticality)
    }
}

#[test]
fn sre_the_formula_with_k_2() {
    for (requests, accepts, expected) in [
        (0, 0, 0.0),
        (100, 100, 0.0),
        (100, 50, 0.0),
        (100, 49, 2.0 / 101.0),
        (100, 25, 50.0 / 101.0),
        (100, 10, 80.0 / 101.0),
        (1, 0, 1.0 / 2.0),
    ] {
        let mut case = Case::default();
        case.history(Critical, requests, accepts);
        let share = case.share(Critical);
        assert!(
            (share - expected).abs() < 1e-9,
            "{requests}/{accepts}: {share}"
        );
    }
}

#[test]
fn a_larger_k_refuses_later() {
    let mut case = Case::default();
    case.history(Critical, 100, 40);
    let share = case.share(Critical);
    assert!((share - 20.0 / 101.0).abs() < 1e-9, "{share}");
    case.throttle
        .update(&ThrottlePolicy::default().with_k_milli(3000));
    assert_eq!(
        case.share(Critical),
        0.0,
        "what was counted stays, and 3 x 40 covers it"
    );
}

#[test]
fn slow_calls_are_not_refusals_while_they_last() {
    // go-zero#5011: 10 s calls, none of which has ended.
    let mut case = Case::default();
    for _ in 0..1000 {
        case.now += 10 * MS;
        assert!(case.admit(Critical).is_some());
    }
    assert_eq!(case.throttle.counts(case.now), (1000, 1000));
}

#[test]
fn the_window_is_two_minutes() {
    let mut case = Case::default();
    case.history(Critical, 100, 0);
    case.now += 114 * SECOND;
    assert_eq!(case.throttle.counts(case.now), (100, 0));
    case.now += 7 * SECOND;
    assert_eq!(case.throttle.counts(case.now), (0, 0));
    assert_eq!(case.share(Critical), 0.0);
    case.now += 3600 * SECOND;
    case.history(Critical, 10, 5);
    assert_eq!(case.throttle.counts(case.now), (10, 5));
}

#[test]
fn a_refusal_that_comes_after_the_window_changes_nothing() {
    let mut case = Case::default();
    let ticket = case.throttle.count(Critical, case.now);
    case.now += 121 * SECOND;
    let _accepted = case.throttle.count(Critical, case.now);
    case.throttle.refused(ticket, case.now);
    assert_eq!(case.throttle.counts(case.now), (1, 1));
}

#[test]
fn a_refusal_is_taken_off_the_slot_in_which_its_attempt_began() {
    let mut case = Case::default();
    let ticket = case.throttle.count(Critical, case.now);
    case.now += 60 * SECOND;
    let _accepted = case.throttle.count(Critical, case.now);
    case.throttle.refused(ticket, case.now);
    assert_eq!(case.throttle.counts(case.now), (2, 1));
    case.now += 61 * SECOND;
    assert_eq!(case.throttle.counts(case.now), (1, 1));
}

#[test]
fn the_least_critical_are_refused_first() {
    // A quarter each; half of all must go.
    let mut case = Case::default();
    for level in [Sheddable, SheddablePlus, Critical, CriticalPlus] {
        case.history(level, 1000, 250);
    }
    let shares = [Sheddable, SheddablePlus, Critical, CriticalPlus].map(|l| case.share(l));
    assert_eq!(shares[0], 0.9);
    assert_eq!(shares[1], 0.9);
    // What the first two, which keep a trickle, do not give.
    assert!((shares[2] - 0.2).abs() < 0.01, "{shares:?}");
    assert_eq!(shares[3], 0.0);
    let all: f64 = shares.iter().sum::<f64>() / 4.0;
    assert!(
        (all - 0.5).abs() < 0.001,
        "together it is the formula's share: {all}"
    );
}

#[test]
fn when_all_are_alike_all_share_alike() {
    let mut case = Case::default();
    case.history(CriticalPlus, 1000, 250);
    assert!((case.share(CriticalPlus) - 0.5).abs() < 0.001);
}

/// A backend that serves 100 a second is asked for 1,000 a second.
#[test]
fn sre_the_backend_is_asked_for_about_twice_what_it_accepts() {
    let mut case = Case::default();
    let (mut sent, mut accepted) = (0_u32, 0_u32);
    for tenth in 0..3000_u32 {
        case.now += 100 * MS;
        let mut capacity = 10;
        for _ in 0..100 {
            let Some(ticket) = case.admit(Critical) else {
                continue;
            };
            let counted = u32::from(tenth >= 1500);
            sent += counted;
            if capacity > 0 {
                capacity -= 1;
                accepted += counted;
            } else {
                case.throttle.refused(ticket, case.now);
            }
        }
    }
    let ratio = f64::from(sent) / f64::from(accepted);
    assert!(
        (1.8..=2.2).contains(&ratio),
        "{sent} sent, {accepted} accepted"
    );
    assert!(
        accepted >= 14_900,
        "the capacity of 15,000 is used: {accepted}"
    );
}

#[test]
fn a_dead_backend_is_probed_by_a_trickle_and_recovers() {
    let mut case = Case::default();
    let mut sent = 0;
    for _ in 0..10_000 {
        case.now += 10 * MS;
        if let Some(ticket) = case.admit(Critical) {
            sent += 1;
            case.throttle.refused(ticket, case.now);
        }
    }
    assert!((900..=1200).contains(&sent), "a tenth: {sent}");
    // It is well again: refused calls in each minute after that.
    let minutes: Vec<_> = (0..5)
        .map(|_| {
            let mut minute = || {
                case.now += 10 * MS;
                case.admit(Critical).is_none()
            };
            (0..6000).filter(|_| minute()).count()
        })
        .collect();
    assert!(
        minutes.is_sorted_by(|a, b| a > b),
        "each minute fewer: {minutes:?}"
    );
    assert!(
        minutes[2] < 3600 && minutes[3] < 600 && minutes[4] == 0,
        "{minutes:?}"
    );
}

#[test]
fn a_changed_window_starts_anew() {
    let mut case = Case::default();
    case.history(Critical, 100, 0);
    let shorter = ThrottlePolicy::default().with_window(60 * SECOND);
    case.throttle.update(&shorter);
    assert_eq!(case.throttle.counts(case.now), (0, 0));
}

#[test]
fn threads_lose_no_count() {
    let throttle = Throttle::default();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..10_000_u32 {
                    let now = start + n * MS;
                    let ticket = throttle.count(Critical, now);
                    if n % 2 == 0 {
                        throttle.refused(ticket, now);
                    }
                }
            });
        }
    });
    let now = start + 10 * SECOND;
    assert_eq!(throttle.counts(now), (40_000, 20_000));
    assert_eq!(throttle.counts(now + 121 * SECOND), (0, 0));
}
