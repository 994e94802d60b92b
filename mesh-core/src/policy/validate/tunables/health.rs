use std::time::Duration;

use super::over;
use crate::error::Code;
use crate::policy::defaults;
use crate::policy::model::{HealthPolicy, HealthProbe, HealthTiming};
use crate::policy::spec::{HealthCheck, Interval, StatusRange};
use crate::policy::validate::ranges::Ranges;

/// Least pause between two probes of an endpoint.
const INTERVAL: Duration = Duration::from_millis(100);

pub(super) fn policy(s: &HealthCheck) -> Option<HealthPolicy> {
    let probe = if let Some(http) = &s.http {
        let usual = [StatusRange::default()];
        let statuses = match http.statuses.as_slice() {
            [] => usual.as_slice(),
            given => given,
        };
        HealthProbe::Http {
            path: http.path.as_str().into(),
            statuses: statuses.iter().map(|r| (r.first(), r.last())).collect(),
        }
    } else if let Some(grpc) = &s.grpc {
        HealthProbe::Grpc {
            service: grpc.service.as_deref().unwrap_or_default().into(),
        }
    } else {
        HealthProbe::Tcp
    };
    // A short interval moves the default of the timeout along.
    let interval = s.interval.map_or(defaults::HEALTH_INTERVAL, Interval::get);
    let timeout = s
        .timeout
        .map_or(defaults::HEALTH_TIMEOUT.min(interval), Interval::get);
    let timing = HealthTiming::default()
        .with_interval(interval)
        .with_timeout(timeout)
        .with_port(s.port);
    let timing = over!(timing;
        with_unhealthy_after: s.unhealthy_after,
        with_healthy_after: s.healthy_after,
        with_jitter_percent: s.jitter_percent,
        with_max_concurrent: s.max_concurrent,
    );
    let policy = HealthPolicy::new(probe).with_timing(timing);
    s.enabled.unwrap_or(true).then_some(policy)
}

pub(super) fn check(ranges: &mut Ranges<'_, '_>, s: &HealthCheck) {
    let at = |field: &str| format!("healthCheck.{field}");
    let given = [s.http.is_some(), s.grpc.is_some(), s.tcp.is_some()];
    match given.into_iter().filter(|given| *given).count() {
        0 if s.enabled == Some(false) => {}
        1 => {}
        0 => {
            let why = "none of `http`, `grpc` and `tcp` is given: asked how?";
            let finding = ranges.note("healthCheck", Code::POLICY_MISSING_FIELD, why);
            finding.help("such as http: { path: /healthz }, or grpc: {}");
        }
        _ => {
            ranges.refuse(
                "healthCheck",
                "an endpoint is asked in one way: http, grpc or tcp",
            );
        }
    }
    if let Some(http) = &s.http {
        if !http.path.starts_with('/') || http.path.parse::<http::uri::PathAndQuery>().is_err() {
            let why = format!("`{}` is no path", http.path);
            ranges
                .refuse(&at("http.path"), why)
                .help("such as /healthz");
        }
        for (n, range) in http.statuses.iter().enumerate() {
            if range.first() < 100 || range.last() > 599 || range.first() > range.last() {
                let why = format!("{range} is not in the range 100 to 599");
                ranges.refuse(&at(&format!("http.statuses[{n}]")), why);
            }
        }
    }
    ranges.at_least(&at("interval"), s.interval, INTERVAL);
    ranges.positive(&at("timeout"), s.timeout);
    if let Some(timeout) = s.timeout {
        let interval = s
            .interval
            .unwrap_or(Interval::new(defaults::HEALTH_INTERVAL));
        ranges.ordered((&at("timeout"), timeout), (&at("interval"), interval));
    }
    ranges.at_least_one(&at("unhealthyAfter"), s.unhealthy_after);
    ranges.at_least_one(&at("healthyAfter"), s.healthy_after);
    ranges.percent(&at("jitterPercent"), s.jitter_percent);
    ranges.at_least_one(&at("maxConcurrent"), s.max_concurrent);
    if s.port == Some(0) {
        ranges.refuse(&at("port"), "0 is no port");
    }
}
