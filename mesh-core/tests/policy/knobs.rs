//! What is written reaches the model, and what is not keeps its default.

use std::time::Duration;

use mesh_core::policy::model::*;
use mesh_core::policy::{Options, Snapshot};

use super::{checked, snapshot};

fn backend(text: &str) -> Backend {
    let text = format!("service: shop/reviews\nports: [{{ port: 80 }}]\n{text}");
    let snapshot = snapshot(&text, &Options::partial());
    first(&snapshot).clone()
}

fn first(snapshot: &Snapshot) -> &Backend {
    &snapshot.outbound().backends()[0]
}

/// The codes and paths of the problems of a text.
fn problems(text: &str) -> Vec<String> {
    let text = format!("service: shop/reviews\nports: [{{ port: 80 }}]\n{text}");
    let checked = checked(&text, &Options::partial());
    let all = checked.errors.iter().chain(checked.warnings.iter());
    all.map(|e| format!("{} {}", e.code, e.path)).collect()
}

#[test]
fn a_backend_without_a_policy_has_the_defaults() {
    let backend = backend("");
    assert_eq!(*backend.balance(), BalancePolicy::default());
    assert_eq!(*backend.ejection(), EjectionPolicy::default());
    assert_eq!(*backend.locality(), LocalityPolicy::default());
    assert_eq!(*backend.connection(), ConnectionPolicy::default());
    assert!(backend.hash_on().is_empty());
    assert!(backend.breaker().is_none() && backend.hedge().is_none());
    assert!(backend.health().is_none() && backend.throttle().is_none());
}

#[test]
fn what_a_backend_policy_says_reaches_the_backend() {
    let backend = backend(
        "backend:
  loadBalancing:
    algorithm: RingHash
    hashOn: [{ header: x-user, terminal: true }, { cookie: { name: sid, ttl: 1h, path: / } }, { source: true }]
    boundedLoadPercent: 150
    slowStartAggression: 1.5
    orca: { errorPenalty: 0.5 }
  locality: { overprovisioningPercent: 150, failover: false }
  outlierDetection:
    consecutiveGatewayErrors: 5
    splitLocalOrigin: true
    successRate: { stdevFactor: 1.5 }
    failurePercentage: {}
    latency: { mode: Enforce, factor: 2.5 }
  breaker: { window: 20, slowAfter: 2s }
  hedging: { delay: 20ms }
  healthCheck: { http: { path: /healthz, statuses: [204, 200-299] }, interval: 500ms }
  connection: { keepaliveInterval: 30s, maxAge: 1h }
  connectTimeout: 2s
",
    );
    let balance = backend.balance();
    assert_eq!(balance.algorithm(), Algorithm::RingHash);
    assert_eq!(balance.bounded_load_percent(), 150);
    assert_eq!(balance.slow_start_aggression_milli(), 1500);
    assert_eq!(balance.orca_error_penalty_milli(), 500);
    assert_eq!(balance.aperture_above(), 0, "a hash uses all endpoints");
    let cookie = HashKey::Cookie {
        name: "sid".into(),
        ttl: Some(Duration::from_secs(3600)),
        path: Some("/".into()),
    };
    assert_eq!(
        **backend.hash_on(),
        [
            HashOn::new(HashKey::Header("x-user".parse().unwrap())).with_terminal(true),
            HashOn::new(cookie),
            HashOn::new(HashKey::Source),
        ]
    );
    assert_eq!(backend.locality().overprovisioning_percent(), 150);
    assert!(!backend.locality().failover());
    let ejection = backend.ejection();
    assert_eq!(ejection.consecutive_gateway(), 5);
    assert!(ejection.split_local_origin() && ejection.success_rate());
    assert_eq!(ejection.success_rate_stdev_milli(), 1500);
    assert_eq!(
        ejection.failure_percentage_threshold(),
        85,
        "A50's number once the rule is given"
    );
    assert_eq!(ejection.latency(), LatencyMode::Enforce);
    assert_eq!(ejection.latency_factor_milli(), 2500);
    let breaker = backend.breaker().expect("a breaker");
    assert_eq!(
        (breaker.window(), breaker.minimum_calls()),
        (20, 20),
        "the default moves along"
    );
    assert_eq!(breaker.slow_after(), Duration::from_secs(2));
    assert_eq!(
        backend.hedge().unwrap().fixed_delay(),
        Some(Duration::from_millis(20))
    );
    let health = backend.health().expect("a check");
    assert_eq!(
        health.timeout(),
        Duration::from_millis(500),
        "not above the interval"
    );
    let HealthProbe::Http { statuses, .. } = health.probe() else {
        panic!("{health:?}")
    };
    assert_eq!(**statuses, [(204, 204), (200, 299)]);
    let connection = backend.connection();
    assert_eq!(
        connection.keepalive_interval(),
        Some(Duration::from_secs(30))
    );
    assert_eq!(connection.connect_timeout(), Duration::from_secs(2));
}

#[test]
fn a_more_specific_policy_switches_off_what_another_switched_on() {
    let text = "apiVersion: policy.mesh/v1alpha1
kind: BackendPolicy
metadata: { name: all, namespace: shop }
spec:
  targetRefs: [{ kind: Mesh }]
  breaker: {}
  hedging: {}
  healthCheck: { tcp: {} }
  connectTimeout: 3s
---
service: shop/reviews
ports: [{ port: 80 }]
backend: { breaker: { enabled: false }, healthCheck: { enabled: false }, connection: { maxAge: 1h } }
";
    let snapshot = snapshot(text, &Options::partial());
    let backend = first(&snapshot);
    assert!(backend.breaker().is_none() && backend.health().is_none());
    assert!(backend.hedge().is_some(), "another field stays");
    let connection = backend.connection();
    assert_eq!(
        connection.connect_timeout(),
        Duration::from_secs(3),
        "is a field of its own"
    );
    assert_eq!(connection.max_age(), Some(Duration::from_secs(3600)));
}

#[test]
fn each_value_out_of_range_is_refused_at_its_own_path() {
    for (text, expected) in [
        (
            "loadBalancing: { choices: 1 }",
            "M3008 spec.loadBalancing.choices",
        ),
        (
            "loadBalancing: { choices: 11 }",
            "M3008 spec.loadBalancing.choices",
        ),
        (
            "loadBalancing: { maglevTableSize: 65536 }",
            "M3008 spec.loadBalancing.maglevTableSize",
        ),
        (
            "loadBalancing: { maxRingSize: 8388609 }",
            "M3008 spec.loadBalancing.maxRingSize",
        ),
        (
            "loadBalancing: { minRingSize: 9, maxRingSize: 8 }",
            "M3008 spec.loadBalancing.minRingSize",
        ),
        (
            "loadBalancing: { boundedLoadPercent: 99 }",
            "M3008 spec.loadBalancing.boundedLoadPercent",
        ),
        (
            "loadBalancing: { orca: { period: 99ms } }",
            "M3008 spec.loadBalancing.orca.period",
        ),
        (
            "loadBalancing: { algorithm: RingHash }",
            "M3006 spec.loadBalancing.hashOn",
        ),
        (
            "loadBalancing: { algorithm: Maglev }",
            "M3006 spec.loadBalancing.hashOn",
        ),
        (
            "loadBalancing: { hashOn: [{ source: true }] }",
            "M3017 spec.loadBalancing.hashOn",
        ),
        (
            "loadBalancing: { algorithm: Maglev, hashOn: [{ header: a, query: b }] }",
            "M3008 spec.loadBalancing.hashOn[0]",
        ),
        (
            "loadBalancing: { algorithm: Maglev, hashOn: [{ header: a b }] }",
            "M3022 spec.loadBalancing.hashOn[0].header",
        ),
        (
            "loadBalancing: { apertureAbove: 9, subsetSize: 9 }",
            "M3008 spec.loadBalancing.subsetSize",
        ),
        (
            "loadBalancing: { algorithm: Maglev, hashOn: [{ source: true }], subsetSize: 5 }",
            "M3008 spec.loadBalancing.subsetSize",
        ),
        (
            "locality: { overprovisioningPercent: 99 }",
            "M3008 spec.locality.overprovisioningPercent",
        ),
        (
            "locality: { zoneRoutingPercent: 101 }",
            "M3008 spec.locality.zoneRoutingPercent",
        ),
        (
            "outlierDetection: { consecutiveGatewayErrors: 1 }",
            "M3016 spec.outlierDetection.consecutiveGatewayErrors",
        ),
        (
            "outlierDetection: { latency: { factor: 1 } }",
            "M3008 spec.outlierDetection.latency.factor",
        ),
        (
            "outlierDetection: { failurePercentage: { threshold: 101 } }",
            "M3008 spec.outlierDetection.failurePercentage.threshold",
        ),
        (
            "breaker: { failurePercent: 0 }",
            "M3008 spec.breaker.failurePercent",
        ),
        (
            "breaker: { halfOpenCalls: 0 }",
            "M3008 spec.breaker.halfOpenCalls",
        ),
        (
            "breaker: { window: 10, minimumCalls: 11 }",
            "M3008 spec.breaker.minimumCalls",
        ),
        (
            "hedging: { percentile: 100 }",
            "M3008 spec.hedging.percentile",
        ),
        (
            "hedging: { maxAttempts: 1 }",
            "M3008 spec.hedging.maxAttempts",
        ),
        (
            "hedging: { delay: 1ms, percentile: 90 }",
            "M3008 spec.hedging.delay",
        ),
        (
            "hedging: { idempotent: true }",
            "M3014 spec.hedging.idempotent",
        ),
        ("healthCheck: {}", "M3006 spec.healthCheck"),
        (
            "healthCheck: { tcp: {}, grpc: {} }",
            "M3008 spec.healthCheck",
        ),
        (
            "healthCheck: { http: { path: healthz } }",
            "M3008 spec.healthCheck.http.path",
        ),
        (
            "healthCheck: { http: { path: /, statuses: [299-200] } }",
            "M3008 spec.healthCheck.http.statuses[0]",
        ),
        (
            "healthCheck: { tcp: {}, timeout: 11s }",
            "M3008 spec.healthCheck.timeout",
        ),
        (
            "healthCheck: { tcp: {}, interval: 99ms }",
            "M3008 spec.healthCheck.interval",
        ),
        (
            "connection: { keepaliveInterval: 9s }",
            "M3008 spec.connection.keepaliveInterval",
        ),
        (
            "connection: { keepaliveTimeout: 9s }",
            "M3017 spec.connection.keepaliveTimeout",
        ),
        (
            "connection: { happyEyeballs: 3s }",
            "M3008 spec.connection.happyEyeballs",
        ),
    ] {
        let found = problems(&format!("backend: {{ {text} }}\n"));
        assert_eq!(found[0], expected, "{text}: {found:?}");
    }
    assert_eq!(
        problems("subsetFallback: AnyEndpoint\n"),
        ["M3017 spec.subsetFallback"]
    );
    assert_eq!(
        problems("endpoints: { static: [{ address: \"10.0.0.1:80\", priority: 128 }] }\n"),
        ["M3008 spec.endpoints.static[0].priority"]
    );
}

#[test]
fn a_retry_of_calls_that_are_hedged_is_warned_of_and_accepted() {
    let with = |route: &str, hedging: &str| {
        problems(&format!(
            "route: [{route}]\nbackend: {{ hedging: {hedging} }}\n"
        ))
    };
    let retry = "{ matches: [{ method: GET }], retry: { attempts: 2, codes: [503] } }";
    let told = ["M3017 spec.rules[0].retry"];
    assert_eq!(with(retry, "{ percentile: 95 }"), told);
    assert!(with(retry, "{ enabled: false }").is_empty());
    assert!(
        with("{ matches: [{ method: GET }] }", "{}").is_empty(),
        "no retry"
    );
    let none = "{ matches: [{ method: GET }], retry: { attempts: 0 } }";
    assert!(with(none, "{}").is_empty(), "no attempts");
    let post = "{ matches: [{ method: POST }], retry: { attempts: 2, codes: [503], nonIdempotent: Allow } }";
    let unsafe_ = "M3014 spec.rules[0].retry.nonIdempotent";
    assert_eq!(with(post, "{}"), [unsafe_], "hedging leaves POST alone");
}
