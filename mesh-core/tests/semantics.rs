//! Rules and numbers of the systems that this one follows, as far as they are seen from outside; the
//! tests beside the code have the rest. Each is named after its source.

#![allow(clippy::print_stdout, reason = "the figures are what the tests show")]

use std::time::{Duration, Instant};

use mesh_core::balance::{Balancer, EndpointInfo, EndpointSet, Outcome};
use mesh_core::policy::BalancePolicy;
use mesh_core::policy::defaults as ours;
use mesh_core::policy::model::Algorithm;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn endpoints(weights: &[u32]) -> EndpointSet {
    EndpointSet::new(weights.iter().zip(1..).map(|(weight, port)| {
        let mut info = EndpointInfo::new(([10, 0, 0, 1], port).into());
        info.weight = *weight;
        info
    }))
}

#[test]
fn finagle_retry_budget_defaults() {
    assert_eq!(ours::BUDGET_PERCENT, 20);
    assert_eq!(ours::BUDGET_MIN_PER_SECOND, 10);
    assert_eq!(ours::BUDGET_INTERVAL, 10 * SECOND);
}

#[test]
fn sre_at_most_three_attempts_and_a_throttle_of_k_2_over_two_minutes() {
    assert_eq!(1 + ours::TRANSPARENT_RETRIES, 3);
    assert_eq!(
        (ours::THROTTLE_K_MILLI, ours::THROTTLE_WINDOW),
        (2000, 2 * MINUTE)
    );
}

#[test]
fn finagle_peak_ewma_decay_and_linkerd_default_rtt_and_penalty() {
    assert_eq!(ours::EWMA_DECAY, 10 * SECOND);
    assert_eq!(ours::DEFAULT_RTT, 30 * MS);
    assert_eq!(ours::FAILURE_PENALTY, 5 * SECOND);
}

/// max(5 s, what the endpoint asked for up to 300 s, the present estimate).
#[test]
fn linkerd_load_biaser_sample_of_a_failure() {
    for (asked, est) in [(None, 5), (Some(3), 5), (Some(60), 60), (Some(400), 300)] {
        let (set, now) = (endpoints(&[1]), Instant::now());
        let retry_after = asked.map(|seconds: u32| seconds * SECOND);
        set[0].record(MS, Outcome::Failure { retry_after }, now);
        let estimate = set[0].est(now).unwrap();
        println!("asked to wait {asked:?} s: {estimate:?}");
        assert!(
            estimate.abs_diff(est * SECOND) < MS,
            "{asked:?}: {estimate:?}"
        );
        // One that asks for less later does not look better for it.
        set[0].record(MS, Outcome::Failure { retry_after: None }, now);
        assert!(set[0].est(now).unwrap().abs_diff(est * SECOND) < MS);
    }
}

#[test]
fn tower_trap_a_dropped_call_is_no_longer_pending() {
    let set = endpoints(&[1]);
    let call = set[0].begin();
    assert_eq!(set[0].in_flight(), 1);
    drop(call);
    assert_eq!(set[0].in_flight(), 0);
}

#[test]
fn envoy_least_request_ring_and_maglev_defaults_and_a42_cap() {
    assert_eq!((ours::LB_CHOICES, ours::REQUEST_BIAS_MILLI), (2, 1000));
    assert_eq!((ours::MIN_RING_SIZE, ours::MAX_RING_SIZE), (1024, 4096));
    assert_eq!(ours::MAGLEV_TABLE_SIZE, 65_537);
}

#[test]
fn a58_defaults() {
    assert_eq!(ours::ORCA_BLACKOUT, 10 * SECOND);
    assert_eq!(ours::ORCA_EXPIRATION, 3 * MINUTE);
    assert_eq!(ours::ORCA_PERIOD, SECOND);
    assert_eq!(ours::ORCA_ERROR_PENALTY_MILLI, 1000);
}

#[test]
fn finagle_deterministic_aperture_has_at_least_twelve() {
    assert_eq!((ours::APERTURE_ABOVE, ours::APERTURE_MIN), (100, 12));
}

#[test]
fn envoy_outlier_detection_defaults() {
    assert_eq!(ours::EJECT_CONSECUTIVE, 5);
    assert_eq!(
        (
            ours::EJECT_SPLIT_LOCAL_ORIGIN,
            ours::EJECT_CONSECUTIVE_LOCAL
        ),
        (false, 5)
    );
    assert_eq!(ours::EJECT_INTERVAL, 10 * SECOND);
    assert_eq!(
        (ours::EJECT_FOR, ours::MAX_EJECT_FOR),
        (30 * SECOND, 5 * MINUTE)
    );
    assert_eq!(ours::MAX_EJECT_JITTER, Duration::ZERO);
    assert_eq!(
        (
            ours::EJECT_SUCCESS_RATE_HOSTS,
            ours::EJECT_SUCCESS_RATE_VOLUME
        ),
        (5, 100)
    );
    assert_eq!(ours::EJECT_SUCCESS_RATE_STDEV_MILLI, 1900);
    assert_eq!(ours::EJECT_FAILURE_PERCENTAGE_GIVEN, 85);
    assert_eq!(
        (
            ours::EJECT_FAILURE_PERCENTAGE_HOSTS,
            ours::EJECT_FAILURE_PERCENTAGE_VOLUME
        ),
        (5, 50)
    );
    // Where ours is another: half may be out, since the floor and the brake hold besides.
    assert_eq!(ours::MAX_EJECTED_PERCENT, 50);
    assert_eq!(
        (
            ours::EJECT_LATENCY_FACTOR_MILLI,
            ours::EJECT_LATENCY_INTERVALS
        ),
        (3000, 3)
    );
    assert_eq!(
        (ours::EJECT_LATENCY_VOLUME, ours::EJECT_LATENCY_HOSTS),
        (50, 5)
    );
}

#[test]
fn envoy_circuit_breaking_defaults() {
    let ceilings = [ours::MAX_CONNECTIONS, ours::MAX_PENDING, ours::MAX_REQUESTS];
    assert_eq!((ceilings, ours::MAX_RETRIES), ([1024; 3], 3));
}

#[test]
fn resilience4j_breaker_defaults() {
    assert_eq!(
        (ours::BREAKER_FAILURE_PERCENT, ours::BREAKER_SLOW_PERCENT),
        (50, 100)
    );
    assert_eq!(
        (ours::BREAKER_SLOW_AFTER, ours::BREAKER_OPEN_FOR),
        (MINUTE, MINUTE)
    );
    assert_eq!(
        (ours::BREAKER_WINDOW, ours::BREAKER_MINIMUM_CALLS),
        (100, 100)
    );
    assert_eq!(ours::BREAKER_HALF_OPEN_CALLS, 10);
}

#[test]
fn envoy_panic_priority_and_zone_defaults() {
    assert_eq!((ours::PANIC_PERCENT, ours::FAIL_ON_PANIC), (50, false));
    assert_eq!(
        (
            ours::OVERPROVISIONING_PERCENT,
            ours::ZONE_AWARE_MIN_ENDPOINTS
        ),
        (140, 6)
    );
}

#[test]
fn envoy_slow_start_of_all_endpoints_leaves_their_ratios_alone() {
    assert_eq!(
        (
            ours::SLOW_START_MIN_PERCENT,
            ours::SLOW_START_AGGRESSION_MILLI
        ),
        (10, 1000)
    );
    let (set, now) = (endpoints(&[1, 3]), Instant::now());
    set.warm_up_since(&endpoints(&[]), now);
    let policy = BalancePolicy::default().with_algorithm(Algorithm::Random);
    let balancer = Balancer::new(&policy);
    let mut rng = fastrand::Rng::with_seed(7);
    for after in [0, 1, 5, 9, 20] {
        let at = now + after * SECOND;
        let hits = (0..10_000)
            .filter(|_| balancer.pick(&set, at, &[], &mut rng) == Some(1))
            .count();
        println!("{after} s after all began: {hits} of 10,000 at three quarters of the weight");
        assert!((7_350..7_650).contains(&hits), "{hits} after {after} s");
    }
}

#[test]
fn rfc8305_and_grpc_connection_numbers() {
    assert_eq!(ours::HAPPY_EYEBALLS, 250 * MS);
    assert_eq!(ours::KEEPALIVE_TIMEOUT, 20 * SECOND);
}

#[test]
fn netflix_gradient2_and_codel_numbers() {
    assert_eq!((ours::CONCURRENCY_INITIAL, ours::CONCURRENCY_MIN), (20, 20));
    assert_eq!(
        (
            ours::CONCURRENCY_SMOOTHING_MILLI,
            ours::CONCURRENCY_TOLERANCE_MILLI
        ),
        (200, 1500)
    );
    assert_eq!(
        (ours::CONCURRENCY_QUEUE, ours::CONCURRENCY_LONG_WINDOW),
        (4, 600)
    );
    assert_eq!(
        (
            ours::CONCURRENCY_BACKOFF_MILLI,
            ours::CONCURRENCY_SLOW_AFTER
        ),
        (900, 5 * SECOND)
    );
    assert_eq!(
        (ours::QUEUE_TARGET, ours::QUEUE_INTERVAL),
        (5 * MS, 100 * MS)
    );
}
