//! Values of the schema at random, every field set now and then. A struct literal names all fields,
//! so that none can be forgotten.

use std::time::Duration;

use mesh_core::policy::spec::*;

pub(crate) trait Sample {
    fn sample(rng: &mut fastrand::Rng) -> Self;
}

impl Sample for String {
    fn sample(rng: &mut fastrand::Rng) -> Self {
        const TEXTS: &[&str] = &[
            "", "a", "x-user", "no", "1.5", "2s", "a: b", "#", "\"q\"", "a\nb", "{", "é",
            "/healthz", "200-299",
        ];
        TEXTS[rng.usize(..TEXTS.len())].into()
    }
}

impl Sample for bool {
    fn sample(rng: &mut fastrand::Rng) -> Self {
        rng.bool()
    }
}

impl Sample for u16 {
    fn sample(rng: &mut fastrand::Rng) -> Self {
        rng.u16(..)
    }
}

impl Sample for u32 {
    fn sample(rng: &mut fastrand::Rng) -> Self {
        rng.u32(..)
    }
}

impl Sample for Interval {
    fn sample(rng: &mut fastrand::Rng) -> Self {
        Self::new(Duration::from_millis(rng.u64(..400_000_000)))
    }
}

impl Sample for Ratio {
    fn sample(rng: &mut fastrand::Rng) -> Self {
        let most = if rng.bool() { 5000 } else { u32::MAX };
        Self::from_milli(rng.u32(..most))
    }
}

impl Sample for StatusRange {
    fn sample(rng: &mut fastrand::Rng) -> Self {
        let first = rng.u16(..);
        Self::new(first, if rng.bool() { first } else { rng.u16(..) })
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample(rng: &mut fastrand::Rng) -> Self {
        rng.bool().then(|| T::sample(rng))
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(rng: &mut fastrand::Rng) -> Self {
        (0..rng.usize(..3)).map(|_| T::sample(rng)).collect()
    }
}

macro_rules! sample {
    ($( $name:ident { $($field:ident),* $(,)? } )*) => {$(
        impl Sample for $name {
            #[allow(unused_variables)]
            fn sample(rng: &mut fastrand::Rng) -> Self {
                Self { $( $field: Sample::sample(rng), )* }
            }
        }
    )*};
}

macro_rules! choices {
    ($($name:ident),* $(,)?) => {$(
        impl Sample for $name {
            fn sample(rng: &mut fastrand::Rng) -> Self {
                let text = $name::CHOICES[rng.usize(..$name::CHOICES.len())];
                serde_json::from_value(serde_json::Value::String(text.into())).expect("a choice")
            }
        }
    )*};
}

choices!(
    Algorithm,
    ConcurrencyAlgorithm,
    Criticality,
    GrpcCode,
    LatencyMode
);

sample! {
    LoadBalancing {
        algorithm, decay, default_rtt, failure_penalty, panic_percent, fail_on_panic, slow_start,
        slow_start_min_percent, slow_start_aggression, choices, request_bias, hash_on, min_ring_size,
        max_ring_size, maglev_table_size, bounded_load_percent, orca, aperture_above, aperture_min,
        subset_size,
    }
    HashOn { header, cookie, source, query, terminal }
    CookieHash { name, ttl, path }
    Orca { blackout, expiration, period, error_penalty }
    Locality {
        overprovisioning_percent, zone_aware_min_endpoints, zone_routing_percent, failover,
    }
    OutlierDetection {
        consecutive_errors, consecutive_gateway_errors, split_local_origin, consecutive_local_errors,
        failure_percent, minimum_calls, interval, eject_for, max_eject_for, max_eject_jitter,
        max_ejected_percent, success_rate, failure_percentage, latency,
    }
    SuccessRate { enabled, minimum_hosts, request_volume, stdev_factor }
    FailurePercentage { threshold, minimum_hosts, request_volume }
    LatencyOutlier { mode, factor, intervals, request_volume, minimum_hosts }
    Ceilings { max_connections, max_pending_requests, max_requests, max_retries }
    RetryBudget { percent, interval, min_retries_per_second }
    Breaker {
        enabled, failure_percent, slow_percent, slow_after, window, minimum_calls, open_for,
        half_open_calls,
    }
    Hedging {
        enabled, percentile, minimum_delay, delay, max_extra_percent, max_attempts, idempotent,
    }
    HealthCheck {
        enabled, http, grpc, tcp, interval, timeout, unhealthy_after, healthy_after, jitter_percent,
        port, max_concurrent,
    }
    HttpProbe { path, statuses }
    GrpcProbe { service }
    TcpProbe {}
    Connection {
        happy_eyeballs, max_age, max_age_jitter_percent, idle_timeout, keepalive_interval,
        keepalive_timeout, keepalive_while_idle, max_streams_per_connection,
        max_connections_per_endpoint, max_requests_per_connection,
    }
}

sample! {
    InboundTraffic { rate_limits, concurrency, queue, criticality, timeout }
    OutboundTraffic { throttle }
    RateLimit { name, by, requests, per, burst, matches, overrides }
    RateKey { identity, header, method, path }
    RateOverride { from, requests, burst }
    PeerSelector { service, namespace, identity }
    RequestSelector { methods, paths, grpc }
    Concurrency {
        algorithm, initial, min, max, smoothing, tolerance, queue, long_window, backoff, slow_after,
    }
    Queue { size, target, interval }
    CriticalityRules { trust_mesh, default_level, rules }
    CriticalityRule { from, matches, level }
    Throttle { enabled, k, window, max_reject_percent }
    FaultSpec { delay, abort, header, seed, max_active, expires }
    Delay { duration, percent }
    Abort { status, grpc, percent }
    FaultHeader { name, value }
    DirectResponseSpec { status, body, content_type }
    StickySplitSpec { hash_on }
    TrailerEditSpec { set, add, remove }
    HeaderValue { name, value }
}

/// A TrafficPolicy without its targets.
pub(crate) fn traffic_policy(seed: u64) -> TrafficPolicySpec {
    let rng = &mut fastrand::Rng::with_seed(seed);
    TrafficPolicySpec {
        target_refs: Vec::new(),
        inbound: Sample::sample(rng),
        outbound: Sample::sample(rng),
    }
}

/// Something that a rule refers to.
pub(crate) fn extension(metadata: Metadata, seed: u64) -> Resource {
    let rng = &mut fastrand::Rng::with_seed(seed);
    match rng.u32(..4) {
        0 => Fault::new(metadata, Sample::sample(rng)).into(),
        1 => DirectResponse::new(metadata, Sample::sample(rng)).into(),
        2 => StickySplit::new(metadata, Sample::sample(rng)).into(),
        _ => TrailerEdit::new(metadata, Sample::sample(rng)).into(),
    }
}

/// A BackendPolicy without its targets.
pub(crate) fn backend_policy(seed: u64) -> BackendPolicySpec {
    let rng = &mut fastrand::Rng::with_seed(seed);
    BackendPolicySpec {
        target_refs: Vec::new(),
        load_balancing: Sample::sample(rng),
        locality: Sample::sample(rng),
        outlier_detection: Sample::sample(rng),
        ceilings: Sample::sample(rng),
        retry_budget: Sample::sample(rng),
        breaker: Sample::sample(rng),
        hedging: Sample::sample(rng),
        health_check: Sample::sample(rng),
        connection: Sample::sample(rng),
        connect_timeout: Sample::sample(rng),
        stream_idle_timeout: Sample::sample(rng),
    }
}
