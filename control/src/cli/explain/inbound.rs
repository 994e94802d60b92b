//! What servers of a service do with calls, named as in a TrafficPolicy.

use mesh_core::policy::model::{
    ConcurrencyAlgorithm, CriticalityRule, InboundTraffic, RateKey, RateLimit,
};

use super::words;

/// The settings of a service, each named as below `inbound`. Rules of a list keep the place that they
/// have in force, which is the place in the policy but for limits of the whole service: those are
/// asked first.
pub(super) fn knobs(model: &InboundTraffic) -> Vec<(String, String)> {
    let (time, milli) = (words::time, |value: u32| f64::from(value) / 1000.0);
    let limits = model.rate_limits();
    let mut knobs: Vec<(String, String)> = match limits.is_empty() {
        true => vec![("rateLimits".to_owned(), "none".to_owned())],
        false => limits.iter().map(limit).collect(),
    };
    let mut add = |name: &str, value: String| knobs.push((name.to_owned(), value));
    let concurrency = model.concurrency();
    let algorithm = concurrency.algorithm();
    add("concurrency.algorithm", algorithm.to_string());
    if algorithm != ConcurrencyAlgorithm::Off {
        add("concurrency.initial", concurrency.initial().to_string());
    }
    if !matches!(
        algorithm,
        ConcurrencyAlgorithm::Off | ConcurrencyAlgorithm::Fixed
    ) {
        add("concurrency.min", concurrency.min().to_string());
        add("concurrency.max", concurrency.max().to_string());
    }
    match algorithm {
        ConcurrencyAlgorithm::Gradient2 => {
            let tolerance = milli(concurrency.tolerance_milli());
            add("concurrency.tolerance", tolerance.to_string());
            let smoothing = milli(concurrency.smoothing_milli());
            add("concurrency.smoothing", smoothing.to_string());
        }
        ConcurrencyAlgorithm::Aimd => {
            let backoff = milli(concurrency.backoff_milli());
            add("concurrency.backoff", backoff.to_string());
            add("concurrency.slowAfter", time(concurrency.slow_after()));
        }
        _ => {}
    }
    if algorithm != ConcurrencyAlgorithm::Off {
        let queue = model.queue();
        add("queue.size", queue.size().to_string());
        add("queue.target", time(queue.target()));
        add("queue.interval", time(queue.interval()));
    }
    let criticality = model.criticality();
    add(
        "criticality.trustMesh",
        criticality.trust_mesh().to_string(),
    );
    add(
        "criticality.default",
        criticality.default_level().to_string(),
    );
    for (n, rule) in criticality.rules().iter().enumerate() {
        add(&format!("criticality.rules[{n}]"), level(rule));
    }
    let timeout = model.timeout();
    add(
        "timeout",
        timeout.map_or_else(|| "the caller's".to_owned(), time),
    );
    knobs
}

/// `100 in 1s, 20 at once, by identity`.
fn limit(limit: &RateLimit) -> (String, String) {
    let mut text = format!("{} in {}", limit.requests(), words::time(limit.per()));
    if limit.burst() != limit.requests() {
        text.push_str(&format!(", {} at once", limit.burst()));
    }
    let keys = limit.keys().iter().map(|key| match key {
        RateKey::Identity => "identity".to_owned(),
        RateKey::Header(name) => format!("header {name}"),
        RateKey::Method => "method".to_owned(),
        RateKey::Path => "path".to_owned(),
        _ => "another key".to_owned(),
    });
    let keys = keys.collect::<Vec<_>>().join(" and ");
    match limit.is_total() {
        true => text.push_str(", all together"),
        false => text.push_str(&format!(", by {keys}")),
    }
    for operation in limit.matches() {
        text.push_str(&format!("; {}", words::operation(operation)));
    }
    for other in limit.overrides() {
        let from = words::peers(other.from());
        text.push_str(&format!("; {} for {from}", other.requests()));
    }
    (format!("rateLimits {}", limit.name()), text)
}

fn level(rule: &CriticalityRule) -> String {
    let mut text = rule.level().to_string();
    if !rule.from().is_empty() {
        text.push_str(&format!(", from {}", words::peers(rule.from())));
    }
    for operation in rule.matches() {
        text.push_str(&format!("; {}", words::operation(operation)));
    }
    text
}
