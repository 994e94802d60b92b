//! Balancing, ejection, retries and budget together, on virtual time: what users see when endpoints
//! misbehave. The same seed gives the same run.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use http::Method;
use mesh_core::balance::{Balancer, EndpointInfo, EndpointSet, Outcome};
use mesh_core::classify::{Class, FailureKind};
use mesh_core::ejection::{Detector, Event};
use mesh_core::error::Flags;
use mesh_core::policy::model::Algorithm;
use mesh_core::policy::{BalancePolicy, BudgetPolicy, EjectionPolicy, RetryPolicy};
use mesh_core::retry::{Budget, Failed, Limits, Verdict, may_retry};

const MS: Duration = Duration::from_millis(1);

/// What an endpoint does with a call.
#[derive(Clone, Copy)]
enum Does {
    Serve,
    /// Answers 503 with this probability.
    Fail(f64),
    /// Refuses connections.
    Refuse,
}

#[derive(Debug, Default)]
struct Seen {
    calls: u32,
    failed: u32,
    attempts: u32,
    /// Attempts that reached an endpoint.
    sent: u32,
    /// Attempts at each endpoint.
    at: Vec<u32>,
    /// Time of the first ejection.
    ejected: Option<Duration>,
    most_out: usize,
}

struct Client {
    balancer: Balancer,
    ejection: EjectionPolicy,
    detector: Detector,
    budget: Budget,
    retry: RetryPolicy,
    set: EndpointSet,
    rng: fastrand::Rng,
}

impl Client {
    fn new(endpoints: usize, algorithm: Algorithm, seed: u64) -> Self {
        let ports = (1_u16..).take(endpoints);
        let infos = ports.map(|port| EndpointInfo::new(([10, 0, 0, 1], port).into()));
        Self {
            balancer: Balancer::new(&BalancePolicy::default().with_algorithm(algorithm)),
            ejection: EjectionPolicy::default(),
            detector: Detector::new(),
            budget: Budget::default(),
            retry: RetryPolicy::default().with_attempts(2).with_codes(&[503]),
            set: EndpointSet::new(infos),
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Calls for `time` at `rate` a second, one every so often, each over before the next.
    fn run(
        &mut self,
        start: Instant,
        time: Duration,
        rate: u32,
        does: impl Fn(usize, Duration) -> Does,
    ) -> Seen {
        let mut seen = Seen {
            at: vec![0; self.set.len()],
            ..Seen::default()
        };
        let every = Duration::from_secs(1) / rate;
        let mut passed = Duration::ZERO;
        while passed < time {
            self.call(start, passed, &does, &mut seen);
            let out = self
                .set
                .iter()
                .filter(|e| !e.ejection().is_available())
                .count();
            seen.most_out = seen.most_out.max(out);
            passed += every;
        }
        seen
    }

    fn call(
        &mut self,
        start: Instant,
        passed: Duration,
        does: &impl Fn(usize, Duration) -> Does,
        seen: &mut Seen,
    ) {
        let mut now = start + passed;
        seen.calls += 1;
        self.budget.deposit(now);
        let mut tried = Vec::new();
        for attempts in 1.. {
            let picked = self.balancer.pick(&self.set, now, &tried, &mut self.rng);
            let Some(ix) = picked else {
                seen.failed += 1;
                return;
            };
            tried.push(ix);
            seen.attempts += 1;
            seen.at[ix] += 1;
            let Some(failed) = self.attempt(ix, now, passed, does, attempts, seen) else {
                return;
            };
            let limits = Limits {
                policy: Some(&self.retry),
                arrived_attempt: 0,
                deadline: None,
                expected: Duration::ZERO,
                elsewhere: !self.set[ix].is_reachable() && self.set.is_reachable_but(&tried),
                probe: false,
            };
            match may_retry(&failed, &limits, &self.budget, now, &mut self.rng) {
                Verdict::Retry { pause, .. } => now += pause,
                _ => {
                    seen.failed += 1;
                    return;
                }
            }
        }
    }

    /// One attempt; what failed, if it did.
    fn attempt(
        &mut self,
        ix: usize,
        now: Instant,
        passed: Duration,
        does: &impl Fn(usize, Duration) -> Does,
        attempts: u32,
        seen: &mut Seen,
    ) -> Option<Failed<'static>> {
        let state = &self.set[ix];
        let (ok, refused) = match does(ix, passed) {
            Does::Serve => (true, false),
            Does::Fail(share) => (self.rng.f64() >= share, false),
            Does::Refuse => (false, true),
        };
        seen.sent += u32::from(!refused);
        let _in_flight = state.begin();
        let outcome = match ok {
            true => Outcome::Success,
            false => Outcome::Failure { retry_after: None },
        };
        if refused {
            state.connect_failed(now);
        }
        // In the order of the layers: ejection is below the load guard.
        let event = self.detector.record(&self.ejection, &self.set, ix, ok, now);
        self.balancer.record(state, 4 * MS, outcome, now);
        if let Some(Event::Ejected { .. }) = event {
            seen.ejected.get_or_insert(passed);
        }
        let kind = match refused {
            true => FailureKind::Transport,
            false => FailureKind::Unavailable,
        };
        (!ok).then_some(Failed {
            class: Class::Failure(kind),
            status: (!refused).then_some(503),
            grpc: None,
            flags: Flags {
                never_sent: refused,
                ..Flags::default()
            },
            method: &Method::GET,
            attempts,
            replayable: true,
            pushback: None,
        })
    }
}

const ALL: [Algorithm; 4] = [
    Algorithm::PeakEwma,
    Algorithm::LeastRequest,
    Algorithm::RoundRobin,
    Algorithm::Random,
];

#[test]
fn users_see_nothing_of_one_of_three_that_fails_30_percent() {
    for algorithm in ALL {
        for seed in 0..20 {
            let mut client = Client::new(3, algorithm, seed);
            let seen = client.run(Instant::now(), 60_000 * MS, 50, |ix, _| match ix {
                0 => Does::Fail(0.3),
                _ => Does::Serve,
            });
            assert_eq!(seen.failed, 0, "{algorithm:?} seed {seed}: {seen:?}");
        }
    }
}

#[test]
fn what_spreads_calls_evenly_ejects_it_within_seconds_and_peak_ewma_starves_it_instead() {
    for algorithm in ALL {
        for seed in 0..20 {
            let mut client = Client::new(3, algorithm, seed);
            let seen = client.run(Instant::now(), 60_000 * MS, 50, |ix, _| match ix {
                0 => Does::Fail(0.3),
                _ => Does::Serve,
            });
            if algorithm == Algorithm::PeakEwma {
                // A single failure counts as 5 s of latency and fades within a minute.
                assert!(seen.at[0] * 50 < seen.calls, "seed {seed}: {seen:?}");
            } else {
                let after = seen.ejected.expect("ejected");
                assert!(after < 8_000 * MS, "{algorithm:?} seed {seed}: {after:?}");
            }
        }
    }
}

#[test]
fn a_killed_endpoint_costs_no_call_and_comes_back_within_the_longest_pause() {
    for algorithm in ALL {
        let mut client = Client::new(3, algorithm, 1);
        let start = Instant::now();
        let down = 5_000 * MS..35_000 * MS;
        let seen = client.run(start, 45_000 * MS, 50, |ix, passed| {
            match ix == 0 && down.contains(&passed) {
                true => Does::Refuse,
                false => Does::Serve,
            }
        });
        assert_eq!(seen.failed, 0, "{algorithm:?}: {seen:?}");
        assert!(client.set[0].is_reachable(), "{algorithm:?}");
    }
}

/// Calls at an endpoint that came back, in each fifth of its slow start, as parts of a fair share;
/// one call at a time at three endpoints.
fn shares_while_warming(algorithm: Algorithm) -> [f64; 5] {
    let (rate, seeds) = (200, 20);
    let window = BalancePolicy::default().slow_start();
    let mut hits = [0_u32; 5];
    for seed in 0..seeds {
        let mut client = Client::new(3, algorithm, seed);
        let start = Instant::now();
        let (ejection, set) = (client.ejection, client.set.clone());
        let record = |_| client.detector.record(&ejection, &set, 0, false, start);
        let events: Vec<_> = (0..ejection.consecutive_errors())
            .filter_map(record)
            .collect();
        assert!(matches!(events[..], [Event::Ejected { .. }]), "{events:?}");
        let times = RefCell::new(Vec::new());
        client.run(start, 60_000 * MS, rate, |ix, passed| {
            if ix == 0 {
                times.borrow_mut().push(passed);
            }
            Does::Serve
        });
        let mut times = times.into_inner().into_iter();
        let back = times.next().expect("a probe");
        // The first probe is due after a quarter of the time.
        assert!(back >= ejection.eject_for() / 4, "{back:?}");
        for at in times {
            let fifth = (at - back).as_secs_f64() / window.as_secs_f64() * 5.0;
            if let Some(hits) = hits.get_mut(fifth as usize) {
                *hits += 1;
            }
        }
    }
    let fair = f64::from(rate) * window.as_secs_f64() / 5.0 / 3.0 * seeds as f64;
    hits.map(|hits| f64::from(hits) / fair)
}

/// Its share in the middle of each fifth; in the first half of the first one it is the least, 10 %.
const WARMING: [f64; 5] = [0.125, 0.3, 0.5, 0.7, 0.9];

#[test]
fn a_returning_endpoint_takes_its_warm_up_share_at_low_load() {
    let shares = shares_while_warming(Algorithm::LeastRequest);
    for (share, expected) in shares.into_iter().zip(WARMING) {
        assert!((share / expected - 1.0).abs() < 0.15, "{shares:.2?}");
    }
    // As an endpoint of that weight beside two of 1.
    for algorithm in [Algorithm::RoundRobin, Algorithm::Random] {
        let shares = shares_while_warming(algorithm);
        for (share, weight) in shares.into_iter().zip(WARMING) {
            let expected = 3.0 * weight / (weight + 2.0);
            let near = (share / expected - 1.0).abs() < 0.15;
            assert!(near, "{algorithm:?}: {shares:.2?}");
        }
    }
}

#[test]
fn with_peak_ewma_a_returning_endpoint_takes_up_to_twice_its_warm_up_share() {
    // Equal endpoints differ by how far their estimates have faded, so the one that is called least
    // wins whenever it takes part: in two of three rounds, where one of three is fair.
    let shares = shares_while_warming(Algorithm::PeakEwma);
    for (share, expected) in shares.into_iter().zip(WARMING) {
        let bounds = expected * 0.85..=f64::min(expected * 2.15, 1.15);
        assert!(bounds.contains(&share), "{shares:.2?}");
    }
}

#[test]
fn a_dead_endpoint_costs_no_call_while_the_retry_budget_is_empty() {
    for algorithm in ALL {
        for seed in 0..20 {
            let mut client = Client::new(3, algorithm, seed);
            let none = BudgetPolicy::default()
                .with_percent(0)
                .with_min_per_second(0);
            client.budget = Budget::new(&none);
            let seen = client.run(Instant::now(), 60_000 * MS, 50, |ix, passed| match ix {
                0 if passed >= 5_000 * MS => Does::Refuse,
                _ => Does::Serve,
            });
            assert_eq!(seen.failed, 0, "{algorithm:?} seed {seed}: {seen:?}");
            // Each call reaches an endpoint once: nothing is amplified.
            assert_eq!(seen.sent, seen.calls, "{algorithm:?} seed {seed}");
            // One refused attempt a pause (250 ms doubling to 5 s), not one a call.
            let refused = seen.attempts - seen.sent;
            assert!(refused <= 20, "{algorithm:?} seed {seed}: {refused}");
            // Peak EWMA may have found two others that answer sooner.
            let even = algorithm != Algorithm::PeakEwma;
            assert!(!even || refused >= 5, "{algorithm:?}: {refused}");
        }
    }
}

#[test]
fn without_a_budget_an_outage_of_refusals_is_a_retry_an_endpoint_a_pause_at_most() {
    for algorithm in ALL {
        for seed in 0..10 {
            let mut client = Client::new(6, algorithm, seed);
            let none = BudgetPolicy::default()
                .with_percent(0)
                .with_min_per_second(0);
            client.budget = Budget::new(&none);
            let time = 30_000 * MS;
            let seen = client.run(Instant::now(), time, 500, |_, _| Does::Refuse);
            assert_eq!(seen.failed, seen.calls);
            let free = seen.attempts - seen.calls;
            assert!(free <= 5, "{algorithm:?} seed {seed}: {free}");
        }
    }
}

#[test]
fn a_complete_outage_adds_a_fifth_and_leaves_the_pool_alone() {
    for algorithm in ALL {
        for seed in 0..10 {
            let mut client = Client::new(6, algorithm, seed);
            let seen = client.run(Instant::now(), 30_000 * MS, 500, |_, _| Does::Fail(1.0));
            // 20 % of 500 a second, and 10 a second more.
            let allowed = f64::from(seen.calls) * 1.2 + 10.0 * 30.0 + 100.0;
            assert!(
                f64::from(seen.attempts) <= allowed,
                "{algorithm:?} seed {seed}: {seen:?}"
            );
            assert!(seen.most_out <= 3, "{algorithm:?} seed {seed}: {seen:?}");
        }
    }
}

#[test]
fn after_a_complete_outage_everything_is_back_at_once() {
    for algorithm in ALL {
        let mut client = Client::new(4, algorithm, 3);
        let start = Instant::now();
        let outage = 5_000 * MS;
        client.run(start, outage, 100, |_, _| Does::Fail(1.0));
        let after = client.run(start + outage, 40_000 * MS, 100, |_, _| Does::Serve);
        assert_eq!(after.failed, 0, "{algorithm:?}: {after:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let start = Instant::now();
    let run = || {
        let mut client = Client::new(5, Algorithm::PeakEwma, 42);
        let seen = client.run(start, 20_000 * MS, 100, |ix, _| match ix {
            0 => Does::Fail(0.5),
            1 => Does::Refuse,
            _ => Does::Serve,
        });
        format!("{seen:?}")
    };
    assert_eq!(run(), run());
}
