//! Every metric: name, type, unit, meaning, labels. The metrics page is generated from [`METRICS`].

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricType {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

/// What is known about a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricInfo {
    /// Name, with its unit as the last word but `total`.
    pub name: &'static str,
    /// Type.
    pub kind: MetricType,
    /// Unit: `seconds`, `bytes`, or what is counted.
    pub unit: &'static str,
    /// What it says, in one sentence.
    pub meaning: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
}

/// Label: the service that calls.
pub const FROM: &str = "from";
/// Label: the service that is called, `shop/reviews`.
pub const SERVICE: &str = "service";
/// Label: the name of the route, `(none)` without one.
pub const ROUTE: &str = "route";
/// Label: the class of an answer, see [`crate::classify::Class::label`].
pub const CLASS: &str = "class";
/// Label: why the mesh itself answered, see [`crate::error::ErrorKind::label`]; empty otherwise.
pub const ERROR_TYPE: &str = "error_type";
/// Label: HTTP status, or `grpc-14`.
pub const STATUS: &str = "status";
/// Label: state of an endpoint or connection.
pub const STATE: &str = "state";
/// Label: reason of a retry, ejection or refusal.
pub const REASON: &str = "reason";
/// Label: the name of a `Fault`, `shop/slow`.
pub const FAULT: &str = "fault";
/// Label: outcome of a handshake.
pub const RESULT: &str = "result";
/// Label: which layer of policy.
pub const LAYER: &str = "layer";
/// Label: how much a call matters, see [`crate::context::Criticality::as_str`].
pub const CRITICALITY: &str = "criticality";
/// Label: the name of a rate limit.
pub const LIMIT: &str = "limit";
/// Label: which way bytes went: `sent` by the client, or `received` by it.
pub const WAY: &str = "way";
/// Label: `inbound` or `outbound`.
pub const DIRECTION: &str = "direction";

macro_rules! metrics {
    ($($name:ident = $text:literal, $kind:ident, $unit:literal, [$($label:expr),*], $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $name: &str = $text;)*

        /// Every metric, in the order of the page.
        pub const METRICS: &[MetricInfo] = &[$(MetricInfo {
            name: $name,
            kind: MetricType::$kind,
            unit: $unit,
            meaning: $meaning,
            labels: &[$($label),*],
        }),*];
    };
}

metrics! {
    CALLS = "mesh_calls_total", Counter, "calls", [SERVICE, ROUTE, CLASS, STATUS, ERROR_TYPE],
        "Calls as the application sees them, counted once however many attempts they took.";
    CALL_DURATION = "mesh_call_duration_seconds", Histogram, "seconds", [SERVICE, ROUTE],
        "Time from the call to the end of its response headers, all attempts and waits included.";
    CALLS_IN_FLIGHT = "mesh_calls_in_flight", Gauge, "calls", [SERVICE],
        "Calls that have not ended.";
    ATTEMPTS = "mesh_attempts_total", Counter, "attempts", [SERVICE, ROUTE, CLASS],
        "Attempts, the first one of each call included.";
    RETRIES = "mesh_retries_total", Counter, "attempts", [SERVICE, ROUTE, REASON],
        "Attempts beyond the first, by what made them necessary.";
    RESCUED = "mesh_rescued_total", Counter, "calls", [SERVICE, ROUTE],
        "Calls that failed at least once and then succeeded.";
    FALLBACKS = "mesh_fallbacks_total", Counter, "calls", [SERVICE, CLASS],
        "Failures that the application's own fallback answered, by what had failed.";
    COALESCED = "mesh_coalesced_total", Counter, "calls", [SERVICE],
        "Calls that the answer of another, equal one served.";
    RETRIES_REFUSED = "mesh_retries_refused_total", Counter, "calls", [SERVICE, ROUTE, REASON],
        "Failed attempts that were not repeated although a route allows it, by reason.";
    BUDGET_EXHAUSTED = "mesh_budget_exhausted_total", Counter, "calls", [SERVICE],
        "Retries that were not made because the budget was empty.";
    BUDGET_BALANCE = "mesh_budget_balance", Gauge, "retries", [SERVICE],
        "Retries that the budget would pay for now.";
    RETRY_BODY_TOO_LARGE = "mesh_retry_body_too_large_total", Counter, "calls", [SERVICE],
        "Calls that could not be repeated because their body was larger than what is kept (64 KiB).";
    EJECTIONS = "mesh_ejections_total", Counter, "ejections", [SERVICE, REASON],
        "Endpoints taken out of rotation.";
    EJECTIONS_WITHHELD = "mesh_ejections_withheld_total", Counter, "ejections", [SERVICE, REASON],
        "Ejections that were due but not made: the cap was reached, it was the last endpoint, or the whole service failed.";
    EJECTIONS_SHADOW = "mesh_ejections_shadow_total", Counter, "ejections", [SERVICE, REASON],
        "Ejections that a rule which only watches would have made.";
    BREAKER_STATE = "mesh_breaker_state", Gauge, "phase", [SERVICE],
        "0 closed, 1 half open, 2 open.";
    BREAKER_OPENED = "mesh_breaker_opened_total", Counter, "openings", [SERVICE, REASON],
        "Times that a breaker opened, by what reached its threshold: failures, slow.";
    BREAKER_REFUSED = "mesh_breaker_refused_total", Counter, "attempts", [SERVICE],
        "Attempts that an open breaker refused.";
    THROTTLED = "mesh_throttled_total", Counter, "calls", [SERVICE, REASON],
        "Calls held back because the service refuses most of them, by criticality.";
    HEDGES = "mesh_hedges_total", Counter, "attempts", [SERVICE, ROUTE, REASON],
        "Hedges by what became of them: sent, won, and why they were not sent: budget, pushback, deadline, ceiling.";
    ENDPOINTS = "mesh_endpoints", Gauge, "endpoints", [SERVICE, STATE],
        "Endpoints by state: available, ejected, probing, unreachable, unhealthy.";
    HEALTH_CHECKS = "mesh_health_checks_total", Counter, "checks", [SERVICE, RESULT],
        "Active health checks by result: passed, failed. They are no calls and count nowhere else.";
    HEALTH_CHECK_DURATION = "mesh_health_check_duration_seconds", Histogram, "seconds", [SERVICE],
        "Time that an active health check took.";
    PANIC = "mesh_balance_panic_total", Counter, "picks", [SERVICE],
        "Picks made among all endpoints because too few were available.";
    ENDPOINT_WAITING = "mesh_endpoint_waiting", Gauge, "calls", [SERVICE],
        "Calls that wait for a first endpoint.";
    CONNECTIONS = "mesh_connections", Gauge, "connections", [DIRECTION, SERVICE, STATE],
        "Open connections. Outbound by state: active, idle; inbound: open.";
    TUNNELS = "mesh_tunnels", Gauge, "tunnels", [DIRECTION, SERVICE],
        "Connections that are tunnels now (WebSocket and other upgrades, CONNECT), at the server that accepted them.";
    CONNECT_DURATION = "mesh_connect_duration_seconds", Histogram, "seconds", [SERVICE],
        "Time to make a connection, its TLS handshake included.";
    CONNECT_FAILURES = "mesh_connect_failures_total", Counter, "connections", [SERVICE, REASON],
        "Connections that could not be made.";
    POOL_WAITING = "mesh_pool_waiting", Gauge, "calls", [SERVICE],
        "Calls that wait for a connection.";
    TCP_CONNECTIONS = "mesh_tcp_connections_total", Counter, "connections", [DIRECTION, SERVICE, RESULT],
        "Connections of bytes: opened, or why they were refused (the label of the error).";
    TCP_OPEN = "mesh_tcp_open", Gauge, "connections", [DIRECTION, SERVICE],
        "Connections of bytes that are open.";
    TCP_BYTES = "mesh_tcp_bytes_total", Counter, "bytes", [DIRECTION, SERVICE, WAY],
        "Bytes carried by connections that have ended, as the client sees it: sent, received.";
    TCP_DURATION = "mesh_tcp_duration_seconds", Histogram, "seconds", [DIRECTION, SERVICE],
        "Time from the opening of a connection of bytes to its end.";
    CEILING_REACHED = "mesh_ceiling_reached_total", Counter, "calls", [SERVICE, REASON],
        "Calls that a ceiling refused (pending, requests), kept waiting (connections) or did not let be retried (retries).";
    SERVER_REQUESTS = "mesh_server_requests_total", Counter, "requests", [FROM, CLASS, STATUS, ERROR_TYPE],
        "Requests taken, by the caller's service.";
    SERVER_DURATION = "mesh_server_duration_seconds", Histogram, "seconds", [FROM],
        "Time from a request's headers to the end of its answer's headers.";
    SERVER_IN_FLIGHT = "mesh_server_in_flight", Gauge, "requests", [],
        "Requests that have not ended.";
    FAULTS = "mesh_faults_total", Counter, "calls", [FAULT, REASON],
        "Faults that were made on purpose, by what was done: delay, abort.";
    MIRRORED = "mesh_mirrored_total", Counter, "calls", [SERVICE, CLASS],
        "Copies of calls that were sent to a mirror, by how it answered; in no other metric.";
    MIRROR_DROPPED = "mesh_mirror_dropped_total", Counter, "calls", [SERVICE, REASON],
        "Copies that were not sent: too_large, incomplete, crowded, no_endpoint.";
    SERVER_BYPASSED = "mesh_server_unrouted_total", Counter, "requests", [FROM],
        "Requests whose caller did not route them by the mesh's policy.";
    SERVER_SHED = "mesh_server_shed_total", Counter, "requests", [REASON, CRITICALITY],
        "Requests refused for overload (M2014): limit, queue_full, waited, or requests (the fixed bound), by how much they matter.";
    SERVER_RATE_LIMITED = "mesh_server_rate_limited_total", Counter, "requests", [LIMIT, CRITICALITY],
        "Requests above a rate limit (M2007), by the name of the limit.";
    SERVER_LIMIT = "mesh_server_concurrency_limit", Gauge, "requests", [SERVICE],
        "Requests that the server takes into work at a time now, as its latency allows; infinite when switched off.";
    SERVER_WAITING = "mesh_server_waiting", Gauge, "requests", [SERVICE],
        "Requests that wait for a place in work.";
    DENIED = "mesh_denied_total", Counter, "requests", [FROM, REASON],
        "Requests refused, or that would be refused in Audit mode, by access policy.";
    TLS_HANDSHAKES = "mesh_tls_handshakes_total", Counter, "handshakes", [DIRECTION, RESULT],
        "TLS handshakes by result.";
    INGRESS_REFUSED = "mesh_ingress_refused_total", Counter, "times", [REASON],
        "What an ingress did not let in: unknown_name, no_name (no certificate for what the client asks for), malformed, no_host, misdirected (421), no_route.";
    PLAINTEXT_PEERS = "mesh_plaintext_peers_total", Counter, "connections", [DIRECTION],
        "Connections without TLS.";
    CERTIFICATE_EXPIRY = "mesh_certificate_expiry_seconds", Gauge, "seconds", [],
        "Time of expiry of this process's certificate, in seconds since 1970.";
    POLICY_REVISION = "mesh_policy_revision", Gauge, "hash", [LAYER],
        "The first 13 hexadecimal digits of the revision in force, as a number: equal where the policy is equal.";
    POLICY_UPDATES = "mesh_policy_updates_total", Counter, "updates", [LAYER, RESULT],
        "Policy updates by result: applied, refused.";
    POLICY_AGE = "mesh_policy_applied_seconds", Gauge, "seconds", [],
        "Time when the policy in force last changed, in seconds since 1970.";
    CONTROL_CONNECTED = "mesh_control_connected", Gauge, "bool", [],
        "1 while the stream to the control server is up; 0 means that the last good policy is served.";
    CONTROL_CLIENTS = "mesh_control_clients", Gauge, "clients", [STATE],
        "At the control server: subscribed processes by state: current, behind, refused.";
    CONTROL_INSTANCES = "mesh_control_instances", Gauge, "instances", [],
        "At the control server: registered live instances.";
    CONTROL_FINDINGS = "mesh_control_findings", Gauge, "findings", ["severity"],
        "At the control server: what `meshctl check` finds, by severity.";
    SERIES_DROPPED = "mesh_metric_series_dropped_total", Counter, "series", [],
        "Label sets counted under `_other` because the process has 2,000 series.";
    DRAIN_STATE = "mesh_drain_state", Gauge, "phase", [],
        "0 serving, 1 unready, 2 draining, 3 done.";
}

/// What is known about the metric called `name`.
pub fn info(name: &str) -> Option<&'static MetricInfo> {
    METRICS.iter().find(|metric| metric.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_say_their_type_and_unit() {
        let names: BTreeSet<_> = METRICS.iter().map(|m| m.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            let total = metric.name.ends_with("_total");
            assert_eq!(total, metric.kind == MetricType::Counter, "{}", metric.name);
            if metric.kind == MetricType::Histogram {
                assert!(metric.name.ends_with("_seconds"), "{}", metric.name);
            }
            assert!(metric.name.starts_with("mesh_") && metric.meaning.ends_with('.'));
            assert_eq!(info(metric.name), Some(metric));
        }
    }
}
