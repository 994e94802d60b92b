use std::time::{Duration, Instant};

use http::Method;
use proptest::prelude::*;

use super::*;
use crate::classify::grpc::Pushback;
use crate::classify::{Class, FailureKind};
use crate::error::Flags;
use crate::policy::model::NonIdempotent;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn no_reserve(percent: u32) -> Budget {
    let policy = BudgetPolicy::default()
        .with_percent(percent)
        .with_min_per_second(0);
    Budget::new(&policy)
}

fn withdrawn(budget: &Budget, now: Instant) -> usize {
    (0..1_000_000).take_while(|_| budget.withdraw(now)).count()
}

#[test]
fn a_percentage_is_exactly_that() {
    let now = Instant::now();
    for percent in [1, 10, 20, 30, 33, 60, 100, 150] {
        let budget = no_reserve(percent);
        (0..1000).for_each(|_| budget.deposit(now));
        assert_eq!(
            withdrawn(&budget, now),
            10 * percent as usize,
            "{percent} %"
        );
    }
}

#[test]
fn ten_a_second_are_there_without_any_call() {
    let now = Instant::now();
    let budget = Budget::default();
    assert_eq!(budget.balance(now), 100);
    assert_eq!(withdrawn(&budget, now), 100);
    assert_eq!(withdrawn(&budget, now + 9 * SECOND), 0);
    assert_eq!(withdrawn(&budget, now + 12 * SECOND), 100);
}

#[test]
fn what_calls_earned_expires_with_the_window() {
    let now = Instant::now();
    let budget = no_reserve(20);
    (0..100).for_each(|_| budget.deposit(now));
    assert_eq!(budget.balance(now + 8 * SECOND), 20);
    assert_eq!(budget.balance(now + 11 * SECOND), 0);
    (0..100).for_each(|_| budget.deposit(now + 100 * SECOND));
    assert_eq!(budget.balance(now + 100 * SECOND), 20);
}

#[test]
fn an_older_now_of_another_thread_does_no_harm() {
    let now = Instant::now();
    let budget = no_reserve(20);
    budget.deposit(now + 20 * SECOND);
    (0..99).for_each(|_| budget.deposit(now));
    assert_eq!(budget.balance(now + 20 * SECOND), 20);
}

#[test]
fn a_changed_percentage_keeps_the_count() {
    let now = Instant::now();
    let policy = BudgetPolicy::default().with_min_per_second(0);
    let budget = Budget::new(&policy);
    (0..100).for_each(|_| budget.deposit(now));
    budget.update(&policy.with_percent(50));
    assert_eq!(budget.balance(now), 20);
    (0..100).for_each(|_| budget.deposit(now));
    assert_eq!(budget.balance(now), 70);
    budget.update(&policy.with_interval(20 * SECOND));
    assert_eq!(budget.balance(now), 0);
}

#[test]
fn threads_together_never_overdraw() {
    let now = Instant::now();
    let budget = no_reserve(20);
    (0..5000).for_each(|_| budget.deposit(now));
    let taken: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..5000).filter(|_| budget.withdraw(now)).count()))
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(taken, 1000);
}

proptest! {
    /// In every window of 10 s: retries <= 20 % of the calls in it + 10 a second.
    #[test]
    fn no_window_has_more_retries_than_it_allows(
        steps in proptest::collection::vec((0_u64..700, any::<bool>(), 1_usize..40), 1..200)
    ) {
        let mut now = Instant::now();
        let budget = Budget::default();
        let mut calls = Vec::new();
        let mut retries = Vec::new();
        for (after, is_call, times) in steps {
            now += Duration::from_millis(after);
            for _ in 0..times {
                if is_call {
                    budget.deposit(now);
                    calls.push(now);
                } else if budget.withdraw(now) {
                    retries.push(now);
                }
            }
        }
        let within = |times: &[Instant], end: Instant| {
            times.iter().filter(|at| **at <= end && end.duration_since(**at) < 10 * SECOND).count()
        };
        for end in &retries {
            let allowed = within(&calls, *end) as f64 * 0.2 + 100.0;
            let made = within(&retries, *end);
            prop_assert!(made as f64 <= allowed, "{made} of {allowed}");
        }
    }

    /// With steady traffic that always fails, close to the full 20 % is available.
    #[test]
    fn steady_traffic_gets_its_share(per_second in 100_u32..1000) {
        let start = Instant::now();
        let budget = no_reserve(20);
        let mut made = 0;
        for call in 0..per_second * 30 {
            let now = start + SECOND * call / per_second;
            budget.deposit(now);
            made += u32::from(budget.withdraw(now));
        }
        let share = f64::from(made) / f64::from(per_second * 30);
        prop_assert!((0.17..=0.2).contains(&share), "{share}");
    }
}

// === the decision ===

struct Case {
    class: Class,
    status: Option<u16>,
    grpc: Option<u32>,
    flags: Flags,
    method: Method,
    attempts: u32,
    replayable: bool,
    pushback: Option<Pushback>,
    policy: Option<RetryPolicy>,
    arrived: u32,
    left: Option<Duration>,
    expected: Duration,
    elsewhere: bool,
    probe: bool,
    budget: Budget,
}

impl Default for Case {
    /// A GET that was answered 503 on a route that retries 503.
    fn default() -> Self {
        Self {
            class: Class::Failure(FailureKind::Unavailable),
            status: Some(503),
            grpc: None,
            flags: Flags::default(),
            method: Method::GET,
            attempts: 1,
            replayable: true,
            pushback: None,
            policy: Some(RetryPolicy::default().with_attempts(2).with_codes(&[503])),
            arrived: 0,
            left: None,
            expected: Duration::ZERO,
            elsewhere: false,
            probe: false,
            budget: Budget::default(),
        }
    }
}

impl Case {
    fn never_sent() -> Self {
        Self {
            class: Class::Failure(FailureKind::Transport),
            status: None,
            flags: Flags {
                never_sent: true,
                ..Flags::default()
            },
            method: Method::POST,
            policy: None,
            ..Self::default()
        }
    }

    fn verdict(&self) -> Verdict {
        let now = Instant::now();
        let failed = Failed {
            class: self.class,
            status: self.status,
            grpc: self.grpc,
            flags: self.flags,
            method: &self.method,
            attempts: self.attempts,
            replayable: self.replayable,
            pushback: self.pushback,
        };
        let limits = Limits {
            policy: self.policy.as_ref(),
            arrived_attempt: self.arrived,
            deadline: self.left.map(|left| now + left),
            expected: self.expected,
            elsewhere: self.elsewhere,
            probe: self.probe,
        };
        let mut rng = fastrand::Rng::with_seed(1);
        may_retry(&failed, &limits, &self.budget, now, &mut rng)
    }

    fn reason(&self) -> Result<RetryReason, StopReason> {
        match self.verdict() {
            Verdict::Retry { reason, .. } => Ok(reason),
            Verdict::Stop(stop) => Err(stop),
        }
    }

    fn pause(&self) -> Duration {
        match self.verdict() {
            Verdict::Retry { pause, .. } => pause,
            Verdict::Stop(stop) => panic!("{stop}"),
        }
    }
}

#[test]
fn without_a_policy_only_what_was_not_processed_is_repeated() {
    assert_eq!(Case::never_sent().reason(), Ok(RetryReason::NeverSent));
    let refused = Flags {
        refused: true,
        ..Flags::default()
    };
    let refused = Case {
        flags: refused,
        ..Case::never_sent()
    };
    assert_eq!(refused.reason(), Ok(RetryReason::Refused));
    let sent = Case {
        flags: Flags::default(),
        ..Case::never_sent()
    };
    assert_eq!(sent.reason(), Err(StopReason::NoPolicy));
    let third = Case {
        attempts: 3,
        ..Case::never_sent()
    };
    assert_eq!(third.reason(), Err(StopReason::Attempts));
}

#[test]
fn a_route_repeats_the_codes_that_it_lists() {
    let case = |status, class| {
        Case {
            status: Some(status),
            class,
            ..Case::default()
        }
        .reason()
    };
    assert_eq!(
        case(503, Class::Failure(FailureKind::Unavailable)),
        Ok(RetryReason::Status)
    );
    assert_eq!(
        case(500, Class::Failure(FailureKind::Server)),
        Err(StopReason::NoPolicy)
    );
    assert_eq!(case(404, Class::ClientError), Err(StopReason::NotAFailure));
    assert_eq!(case(200, Class::Success), Err(StopReason::NotAFailure));
}

#[test]
fn a_route_repeats_what_broke_or_took_too_long() {
    for kind in [FailureKind::Transport, FailureKind::Timeout] {
        let case = Case {
            status: None,
            class: Class::Failure(kind),
            ..Case::default()
        };
        assert_eq!(case.reason(), Ok(RetryReason::Broken));
    }
    let mesh = Case {
        status: None,
        class: Class::Failure(FailureKind::Mesh),
        ..Case::default()
    };
    assert_eq!(mesh.reason(), Err(StopReason::NoPolicy));
}

#[test]
fn grpc_statuses_stand_for_http_ones() {
    let allow = RetryPolicy::default()
        .with_codes(&[503])
        .with_non_idempotent(NonIdempotent::Allow);
    let case = |grpc| Case {
        status: None,
        grpc: Some(grpc),
        class: crate::classify::grpc(grpc),
        method: Method::POST,
        policy: Some(allow.clone()),
        ..Case::default()
    };
    assert_eq!(case(14).reason(), Ok(RetryReason::Status));
    assert_eq!(case(13).reason(), Err(StopReason::NoPolicy));
    assert_eq!(case(5).reason(), Err(StopReason::NotAFailure));
    let by_default = Case {
        policy: Some(RetryPolicy::default().with_codes(&[503])),
        ..case(14)
    };
    assert_eq!(by_default.reason(), Err(StopReason::NotIdempotent));
}

#[test]
fn a_method_that_is_not_idempotent_needs_its_name_in_the_policy() {
    let post = Case {
        method: Method::POST,
        ..Case::default()
    };
    assert_eq!(post.reason(), Err(StopReason::NotIdempotent));
    let put = Case {
        method: Method::PUT,
        ..Case::default()
    };
    assert_eq!(put.reason(), Ok(RetryReason::Status));
}

#[test]
fn attempts_are_counted_without_the_first() {
    let reason = |attempts| {
        Case {
            attempts,
            ..Case::default()
        }
        .reason()
    };
    assert!(reason(1).is_ok() && reason(2).is_ok());
    assert_eq!(reason(3), Err(StopReason::Attempts));
    let zero = RetryPolicy::default().with_attempts(0);
    let none = Case {
        policy: Some(zero),
        ..Case::never_sent()
    };
    assert_eq!(none.reason(), Err(StopReason::Attempts));
    let one = RetryPolicy::default().with_attempts(1);
    let two = Case {
        policy: Some(one),
        attempts: 2,
        ..Case::never_sent()
    };
    assert_eq!(two.reason(), Ok(RetryReason::NeverSent));
}

#[test]
fn a_request_that_arrived_as_a_retry_is_not_multiplied() {
    let case = Case {
        arrived: 1,
        ..Case::default()
    };
    assert_eq!(case.reason(), Err(StopReason::ChainStop));
    let never_sent = Case {
        arrived: 1,
        ..Case::never_sent()
    };
    assert_eq!(never_sent.reason(), Ok(RetryReason::NeverSent));
}

#[test]
fn a_body_that_is_gone_ends_it() {
    let case = Case {
        replayable: false,
        ..Case::default()
    };
    assert_eq!(case.reason(), Err(StopReason::Body));
}

#[test]
fn the_server_has_the_last_word() {
    let pushed = |pushback| Case {
        pushback: Some(pushback),
        ..Case::default()
    };
    assert_eq!(pushed(Pushback::Never).reason(), Err(StopReason::Pushback));
    let pause = pushed(Pushback::After(2 * SECOND)).pause();
    assert!((2 * SECOND..=3 * SECOND).contains(&pause), "{pause:?}");
    let long = pushed(Pushback::After(301 * SECOND));
    assert_eq!(long.reason(), Err(StopReason::Pushback));
    let flags = Flags {
        never_sent: true,
        non_retryable: true,
        ..Flags::default()
    };
    let marked = Case {
        flags,
        ..Case::never_sent()
    };
    assert_eq!(marked.reason(), Err(StopReason::Pushback));
}

#[test]
fn the_deadline_must_leave_room_for_a_usual_attempt() {
    let case = |left: u32, expected: u32| Case {
        left: Some(left * MS),
        expected: expected * MS,
        ..Case::default()
    };
    assert!(case(125, 100).reason().is_ok());
    assert_eq!(case(90, 100).reason(), Err(StopReason::Deadline));
    assert_eq!(case(0, 0).reason(), Err(StopReason::Deadline));
}

#[test]
fn the_budget_is_asked_last_and_pays_only_for_a_retry() {
    let now = Instant::now();
    let empty = Case {
        budget: no_reserve(20),
        ..Case::default()
    };
    assert_eq!(empty.reason(), Err(StopReason::Budget));
    let stopped = Case {
        replayable: false,
        ..Case::default()
    };
    assert!(stopped.reason().is_err());
    assert_eq!(stopped.budget.balance(now), 100);
    let paid = Case::default();
    assert!(paid.reason().is_ok());
    assert_eq!(paid.budget.balance(now), 99);
}

#[test]
fn the_first_pause_is_below_25_ms() {
    assert!(Case::default().pause() < 25 * MS);
}

#[test]
fn what_could_not_be_sent_goes_to_a_reachable_endpoint_without_a_budget_twice() {
    let case = |attempts, elsewhere| Case {
        attempts,
        elsewhere,
        policy: Some(RetryPolicy::default().with_attempts(5)),
        budget: no_reserve(20),
        ..Case::never_sent()
    };
    for attempts in [1, 2] {
        assert_eq!(case(attempts, true).reason(), Ok(RetryReason::NeverSent));
        let nowhere = case(attempts, false);
        assert_eq!(nowhere.reason(), Err(StopReason::Budget));
    }
    assert_eq!(case(3, true).reason(), Err(StopReason::Budget));
    let zero = Case {
        policy: Some(RetryPolicy::default().with_attempts(0)),
        ..case(1, true)
    };
    assert_eq!(zero.reason(), Err(StopReason::Attempts));
    // What was sent is load, wherever it goes next.
    let sent = Case {
        elsewhere: true,
        budget: no_reserve(20),
        ..Case::default()
    };
    assert_eq!(sent.reason(), Err(StopReason::Budget));
    let full = Case {
        budget: Budget::default(),
        ..case(1, true)
    };
    assert!(matches!(full.verdict(), Verdict::Retry { paid: false, .. }));
    assert_eq!(full.budget.balance(Instant::now()), 100);
}

#[test]
fn a_call_that_nobody_works_on_is_paid_for_and_needs_no_place_under_the_ceiling() {
    let case = |broken, status, kind| Case {
        flags: Flags {
            broken,
            ..Flags::default()
        },
        status,
        class: Class::Failure(kind),
        ..Case::default()
    };
    let places = [
        (case(true, None, FailureKind::Transport), false),
        // A stream that was reset, an attempt that took too long, an answer: more load.
        (case(false, None, FailureKind::Transport), true),
        (case(false, None, FailureKind::Timeout), true),
        (case(false, Some(503), FailureKind::Unavailable), true),
    ];
    // Never sent, with no other endpoint to go to.
    let unsent = Case {
        elsewhere: false,
        ..Case::never_sent()
    };
    for (case, place) in places.into_iter().chain([(unsent, false)]) {
        let Verdict::Retry { paid, counted, .. } = case.verdict() else {
            panic!("{:?}", case.verdict());
        };
        assert_eq!((paid, counted), (true, place), "{:?}", case.flags);
    }
    let empty = Case {
        budget: no_reserve(20),
        ..case(true, None, FailureKind::Transport)
    };
    assert_eq!(empty.reason(), Err(StopReason::Budget));
}

#[test]
fn a_call_that_was_the_probe_of_an_endpoint_is_repeated_without_a_budget_where_it_may_be() {
    let probe = |attempts| Case {
        attempts,
        probe: true,
        policy: Some(RetryPolicy::default().with_attempts(5).with_codes(&[503])),
        budget: no_reserve(20),
        ..Case::default()
    };
    assert_eq!(probe(1).reason(), Ok(RetryReason::Status));
    assert!(matches!(
        probe(1).verdict(),
        Verdict::Retry { paid: false, .. }
    ));
    assert_eq!(probe(3).reason(), Err(StopReason::Budget));
    // Whatever arrived as a retry is not one because of the probe.
    let arrived = Case {
        arrived: 2,
        ..probe(1)
    };
    assert_eq!(arrived.reason(), Ok(RetryReason::Status));
    // It was processed: who says that it may not be repeated is right.
    let posted = Case {
        method: Method::POST,
        ..probe(1)
    };
    assert_eq!(posted.reason(), Err(StopReason::NotIdempotent));
    let unlisted = Case {
        policy: None,
        ..probe(1)
    };
    assert_eq!(unlisted.reason(), Err(StopReason::NoPolicy));
}

// === numbers of others ===

/// Envoy: retry n waits uniformly in [0, min((2^n - 1) x 25 ms, 250 ms)).
#[test]
fn envoy_full_jitter_table() {
    let backoff = Backoff::default();
    let mut rng = fastrand::Rng::with_seed(2);
    for (n, below) in [(1, 25), (2, 75), (3, 175), (4, 250), (10, 250)] {
        let pauses: Vec<_> = (0..2000).map(|_| backoff.pause(n, &mut rng)).collect();
        let mean = pauses.iter().sum::<Duration>() / 2000;
        assert!(pauses.iter().all(|pause| *pause < below * MS), "{n}");
        let off = mean.as_secs_f64() / (below * MS / 2).as_secs_f64();
        assert!((0.95..1.05).contains(&off), "{n}: mean {mean:?}");
    }
}

/// gRFC A6: min(initial x multiplier^(n-1), max), as gRPC's xDS configures it: 25 ms, 2, 250 ms.
/// Ours, Envoy's ceiling, is at most a step longer and never above the same maximum.
#[test]
fn a6_back_off_lies_within_a_step_of_ours() {
    let backoff = Backoff::default();
    for n in 1..=12_u32 {
        let a6 = (25.0 * 2_f64.powi(n as i32 - 1)).min(250.0);
        let ours = backoff.ceiling(n).as_secs_f64() * 1000.0;
        assert!(
            ours >= a6 * 0.999 && ours <= (a6 * 2.0).min(250.001),
            "{n}: {a6} and {ours}"
        );
    }
}

/// Envoy's rate-limited back-off: what the server asks for, at most 300 s, up to half as much again,
/// and never past the deadline.
#[test]
fn envoy_rate_limited_back_off() {
    let asked = |seconds: u32, left: Option<u32>| Case {
        pushback: Some(Pushback::After(seconds * SECOND)),
        left: left.map(|seconds| seconds * SECOND),
        ..Case::default()
    };
    for seconds in [0, 1, 20, 300] {
        let pause = asked(seconds, None).pause();
        assert!(
            pause >= seconds * SECOND && pause <= seconds * SECOND * 3 / 2,
            "{pause:?}"
        );
    }
    assert_eq!(asked(301, None).reason(), Err(StopReason::Pushback));
    assert_eq!(asked(20, Some(15)).reason(), Err(StopReason::Deadline));
    assert!(asked(20, Some(31)).reason().is_ok());
}

/// In any window of 10 s: retries <= 20 % of the calls in it + 100. A million random traces; of most
/// of them calls and floor are a tenth of that, so that they are over soon.
#[test]
fn a_million_random_traces_never_break_the_budget() {
    let half = |first: u64| {
        let traces = (first..1_000_000).step_by(2);
        let windows = traces.map(|seed| trace(seed, if seed < 5_000 { 10 } else { 1 }));
        windows.fold((0, 0), |(all, full), (a, f)| (all + a, full + f))
    };
    let (windows, full): (u32, u32) = std::thread::scope(|scope| {
        let other = scope.spawn(move || half(1));
        let (one, other) = (half(0), other.join().unwrap());
        (one.0 + other.0, one.1 + other.1)
    });
    println!("1,000,000 traces: {windows} windows with retries, none above; {full} at the limit");
    assert!(full > 0, "no window came near to it");
}

/// A short trace of bursts. Every window that ends with a retry is looked at: one that ends later has
/// lost calls that had paid, and no budget can know how many calls will come after a retry.
///
/// How many were looked at, and in how many of them one retry more would have been one too many.
fn trace(seed: u64, floor: u32) -> (u32, u32) {
    let (mut windows, mut full) = (0, 0);
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut now = Instant::now();
    let budget = Budget::new(&BudgetPolicy::default().with_min_per_second(floor));
    // When, calls, retries made.
    let mut bursts = [(now, 0_u32, 0_u32); 6];
    for at in 0..bursts.len() {
        now += Duration::from_millis(rng.u64(0..4000));
        let (calls, wanted) = (rng.u32(0..6 * floor), rng.u32(0..5 * floor));
        let calls_first = rng.bool();
        let deposit = || (0..calls).for_each(|_| budget.deposit(now));
        if calls_first {
            deposit();
        }
        let made = (0..wanted).filter(|_| budget.withdraw(now)).count() as u32;
        if !calls_first {
            deposit();
        }
        bursts[at] = (now, calls, made);
        if made == 0 {
            continue;
        }
        let (mut calls, mut retries) = (0, 0);
        for (then, c, r) in &bursts[..=at] {
            if now - *then < 10 * SECOND {
                calls += c;
                retries += r;
            }
        }
        // In fifths: retries <= calls / 5 + floor x 10.
        assert!(
            retries * 5 <= calls + floor * 50,
            "seed {seed}: {retries} of {calls}"
        );
        windows += 1;
        full += u32::from((retries + 1) * 5 > calls + floor * 50);
    }
    (windows, full)
}
