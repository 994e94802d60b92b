//! The tunables of a backend by their names in a policy.

use mesh_core::policy::model::{Algorithm, Backend};

use super::words;

/// The settings of a backend, named as in a BackendPolicy.
pub(super) fn knobs(backend: &Backend) -> Vec<(&'static str, String)> {
    let (balance, ejection) = (backend.balance(), backend.ejection());
    let (ceilings, budget) = (backend.ceilings(), backend.budget());
    let time = words::time;
    let percent = |value: u32| format!("{value}%");
    let off = |value: u32| match value {
        0 => "off".to_owned(),
        value => value.to_string(),
    };
    let mut knobs = vec![("loadBalancing.algorithm", balance.algorithm().to_string())];
    if balance.algorithm() == Algorithm::PeakEwma {
        knobs.extend([
            ("loadBalancing.decay", time(balance.decay())),
            ("loadBalancing.defaultRtt", time(balance.default_rtt())),
            (
                "loadBalancing.failurePenalty",
                time(balance.failure_penalty()),
            ),
        ]);
    }
    knobs.extend([
        (
            "loadBalancing.panicPercent",
            percent(balance.panic_percent()),
        ),
        ("loadBalancing.slowStart", time(balance.slow_start())),
        (
            "outlierDetection.consecutiveErrors",
            off(ejection.consecutive_errors()),
        ),
        (
            "outlierDetection.failurePercent",
            match ejection.failure_percent() {
                0 => off(0),
                value => percent(value),
            },
        ),
        (
            "outlierDetection.minimumCalls",
            ejection.minimum_calls().to_string(),
        ),
        ("outlierDetection.interval", time(ejection.interval())),
        ("outlierDetection.ejectFor", time(ejection.eject_for())),
        (
            "outlierDetection.maxEjectFor",
            time(ejection.max_eject_for()),
        ),
        (
            "outlierDetection.maxEjectedPercent",
            percent(ejection.max_ejected_percent()),
        ),
        (
            "ceilings.maxConnections",
            ceilings.connections().to_string(),
        ),
        (
            "ceilings.maxPendingRequests",
            ceilings.pending().to_string(),
        ),
        ("ceilings.maxRequests", ceilings.requests().to_string()),
        ("ceilings.maxRetries", ceilings.retries().to_string()),
        ("retryBudget.percent", percent(budget.percent())),
        ("retryBudget.interval", time(budget.interval())),
        (
            "retryBudget.minRetriesPerSecond",
            budget.min_per_second().to_string(),
        ),
        ("connectTimeout", time(backend.connect_timeout())),
        ("streamIdleTimeout", words::limit(backend.stream_idle())),
    ]);
    knobs.extend(features(backend));
    knobs
}

/// What is off unless a policy asks for it, and the zones.
fn features(backend: &Backend) -> Vec<(&'static str, String)> {
    let time = words::time;
    let off = || "off".to_owned();
    let hash: Vec<_> = backend.hash_on().iter().map(words::hash_on).collect();
    let locality = backend.locality();
    let mut knobs = Vec::new();
    if !hash.is_empty() {
        knobs.push(("loadBalancing.hashOn", hash.join(", ")));
    }
    knobs.extend([
        (
            "locality.overprovisioningPercent",
            format!("{}%", locality.overprovisioning_percent()),
        ),
        (
            "locality.zoneRoutingPercent",
            format!("{}%", locality.zone_routing_percent()),
        ),
        (
            "breaker",
            backend.breaker().map_or_else(off, |b| {
                format!(
                    "opens at {}% failures of {} calls for {}",
                    b.failure_percent(),
                    b.window(),
                    time(b.open_for())
                )
            }),
        ),
        (
            "hedging",
            backend.hedge().map_or_else(off, |h| match h.fixed_delay() {
                Some(delay) => format!("after {}", time(delay)),
                None => format!("after the {}th percentile", h.percentile()),
            }),
        ),
        (
            "healthCheck",
            backend
                .health()
                .map_or_else(off, |h| format!("every {}", time(h.interval()))),
        ),
        (
            "outbound.throttle",
            backend.throttle().map_or_else(off, |t| {
                format!(
                    "above {} x what is accepted",
                    f64::from(t.k_milli()) / 1000.0
                )
            }),
        ),
        (
            "connection.maxAge",
            backend.connection().max_age().map_or_else(off, time),
        ),
        (
            "connection.keepaliveInterval",
            backend
                .connection()
                .keepalive_interval()
                .map_or_else(off, time),
        ),
    ]);
    knobs
}
