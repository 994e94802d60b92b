use std::time::Duration;

use super::over;
use crate::error::Code;
use crate::policy::defaults;
use crate::policy::model::{BreakerPolicy, ConnectionPolicy, HedgePolicy};
use crate::policy::spec::{Breaker, Connection, Hedging, Interval};
use crate::policy::validate::ranges::Ranges;

/// Least silence before a ping: servers answer more of them with GOAWAY (A8).
const KEEPALIVE: Duration = Duration::from_secs(10);

pub(super) fn breaker(s: &Breaker) -> Option<BreakerPolicy> {
    // A smaller window moves the default of `minimumCalls` along.
    let window = s.window.unwrap_or(defaults::BREAKER_WINDOW);
    let minimum = s
        .minimum_calls
        .unwrap_or(defaults::BREAKER_MINIMUM_CALLS.min(window));
    let policy = over!(BreakerPolicy::default().with_window(window).with_minimum_calls(minimum);
        with_failure_percent: s.failure_percent,
        with_slow_percent: s.slow_percent,
        with_slow_after: s.slow_after.map(Interval::get),
        with_open_for: s.open_for.map(Interval::get),
        with_half_open_calls: s.half_open_calls,
    );
    s.enabled.unwrap_or(true).then_some(policy)
}

pub(super) fn check_breaker(ranges: &mut Ranges<'_, '_>, s: &Breaker) {
    let at = |field: &str| format!("breaker.{field}");
    ranges.number(&at("failurePercent"), s.failure_percent, 1..=100);
    ranges.number(&at("slowPercent"), s.slow_percent, 1..=100);
    ranges.positive(&at("slowAfter"), s.slow_after);
    ranges.number(&at("window"), s.window, 1..=10_000);
    ranges.at_least_one(&at("minimumCalls"), s.minimum_calls);
    if let Some(minimum) = s.minimum_calls {
        let window = s.window.unwrap_or(defaults::BREAKER_WINDOW);
        ranges.ordered((&at("minimumCalls"), minimum), (&at("window"), window));
    }
    ranges.positive(&at("openFor"), s.open_for);
    ranges.at_least_one(&at("halfOpenCalls"), s.half_open_calls);
}

pub(super) fn hedge(s: &Hedging) -> Option<HedgePolicy> {
    let policy = over!(HedgePolicy::default().with_fixed_delay(s.delay.map(Interval::get));
        with_percentile: s.percentile,
        with_minimum_delay: s.minimum_delay.map(Interval::get),
        with_max_extra_percent: s.max_extra_percent,
        with_max_attempts: s.max_attempts,
        with_idempotent: s.idempotent,
    );
    s.enabled.unwrap_or(true).then_some(policy)
}

pub(super) fn check_hedge(ranges: &mut Ranges<'_, '_>, s: &Hedging) {
    let at = |field: &str| format!("hedging.{field}");
    ranges.number(&at("percentile"), s.percentile, 1..=99);
    ranges.number(&at("maxExtraPercent"), s.max_extra_percent, 1..=100);
    ranges.number(&at("maxAttempts"), s.max_attempts, 2..=5);
    if s.delay.is_some() && (s.percentile.is_some() || s.minimum_delay.is_some()) {
        let why = "`delay` takes the place of `percentile` and `minimumDelay`";
        ranges
            .refuse(&at("delay"), why)
            .help("say one or the other");
    }
    if s.enabled != Some(false) && s.idempotent == Some(true) {
        let why = "calls that are not idempotent may be carried out twice";
        let finding = ranges.warn(&at("idempotent"), Code::POLICY_RETRY_UNSAFE, why);
        finding.help("fine if the callee recognises a repetition; otherwise take it out");
    }
}

pub(super) fn connection(s: &Connection) -> ConnectionPolicy {
    let policy = ConnectionPolicy::default()
        .with_max_age(s.max_age.map(Interval::get))
        .with_keepalive_interval(s.keepalive_interval.map(Interval::get));
    over!(policy;
        with_happy_eyeballs: s.happy_eyeballs.map(Interval::get),
        with_max_age_jitter_percent: s.max_age_jitter_percent,
        with_idle_timeout: s.idle_timeout.map(Interval::get),
        with_keepalive_timeout: s.keepalive_timeout.map(Interval::get),
        with_keepalive_while_idle: s.keepalive_while_idle,
        with_max_streams_per_connection: s.max_streams_per_connection,
        with_max_connections_per_endpoint: s.max_connections_per_endpoint,
        with_max_requests_per_connection: s.max_requests_per_connection,
    )
}

pub(super) fn check_connection(ranges: &mut Ranges<'_, '_>, s: &Connection) {
    let at = |field: &str| format!("connection.{field}");
    let delay = Duration::from_millis(10)..=Duration::from_secs(2);
    ranges.duration(&at("happyEyeballs"), s.happy_eyeballs, delay);
    ranges.at_least(&at("maxAge"), s.max_age, Duration::from_secs(1));
    ranges.percent(&at("maxAgeJitterPercent"), s.max_age_jitter_percent);
    ranges.positive(&at("idleTimeout"), s.idle_timeout);
    if let Some(interval) = s.keepalive_interval
        && interval.get() < KEEPALIVE
    {
        let why = format!("{interval} is too short; at least 10s");
        let finding = ranges.refuse(&at("keepaliveInterval"), why);
        finding.help("servers close connections that ping more often (gRFC A8)");
    }
    ranges.positive(&at("keepaliveTimeout"), s.keepalive_timeout);
    if s.keepalive_interval.is_none() {
        for (field, given) in [
            ("keepaliveTimeout", s.keepalive_timeout.is_some()),
            ("keepaliveWhileIdle", s.keepalive_while_idle == Some(true)),
        ] {
            if given {
                let why = format!("`{field}` has no effect without `keepaliveInterval`");
                ranges.warn(&at(field), Code::POLICY_UNUSED, why);
            }
        }
    }
}
