//! How long and how often a rule tries.

use std::time::Duration;

use super::findings::Findings;
use super::rules::Rule;
use crate::error::Code;
use crate::policy::model::{RetryPolicy, RouteMatch, RouteTimeouts};
use crate::policy::spec::{Interval, NonIdempotent, Resource, Retry, Timeouts};

pub(super) fn timeouts(spec: Option<&Timeouts>) -> RouteTimeouts {
    let out = RouteTimeouts::default();
    let Some(spec) = spec else { return out };
    // "0s" is Gateway API's way to say: none.
    let limit = |interval: Interval| Some(interval.get()).filter(|d| !d.is_zero());
    out.with_request(spec.request.map_or(out.request(), limit))
        .with_attempt(spec.backend_request.and_then(limit))
}

pub(super) fn retry(
    resource: &Resource,
    at: &str,
    spec: &Retry,
    findings: &mut Findings,
) -> RetryPolicy {
    const MOST: u32 = 10;
    for (n, code) in spec.codes.iter().enumerate() {
        if !(400..=599).contains(code) {
            let at = format!("{at}.retry.codes[{n}]");
            let message = format!("{code} is not in the range 400 to 599");
            findings.error(resource, at, Code::POLICY_RANGE, message);
        }
    }
    let out = RetryPolicy::default();
    let attempts = spec.attempts.unwrap_or(out.attempts());
    if attempts > MOST {
        let message = format!("{attempts} is not in the range 0 to {MOST}");
        let at = format!("{at}.retry.attempts");
        findings.error(resource, at, Code::POLICY_RANGE, message);
    }
    let backoff = spec.backoff.map_or(out.backoff(), Interval::get);
    out.with_attempts(attempts)
        .with_codes(&spec.codes)
        .with_backoff(backoff)
        .with_non_idempotent(spec.non_idempotent.unwrap_or(NonIdempotent::Never))
}

/// Warns where a repetition may do a thing twice, and where a retry is written that never happens.
pub(super) fn repeatable(
    resource: &Resource,
    at: &str,
    rule: &Rule<'_>,
    retry: &RetryPolicy,
    findings: &mut Findings,
) {
    if retry.attempts() == 0 || retry.codes().is_empty() {
        return;
    }
    let methods = rule.matches.iter().filter_map(RouteMatch::method);
    let risky = methods.clone().find(|m| !m.is_idempotent());
    let all_safe = methods.clone().count() == rule.matches.len() && risky.is_none();
    let what = match risky {
        _ if rule.grpc => "gRPC calls".to_owned(),
        Some(method) => format!("{method} calls"),
        None => "calls that are not idempotent".to_owned(),
    };
    if retry.non_idempotent() == NonIdempotent::Allow && !all_safe {
        findings
            .warning(
                resource,
                format!("{at}.retry.nonIdempotent"),
                Code::POLICY_RETRY_UNSAFE,
                format!("{what} may be carried out twice"),
            )
            .help("fine if the callee recognises a repetition; otherwise use Never");
    } else if retry.non_idempotent() == NonIdempotent::Never && (rule.grpc || risky.is_some()) {
        findings
            .warning(
                resource,
                format!("{at}.retry"),
                Code::POLICY_RETRY_UNSAFE,
                format!("{what} are not idempotent: this retry does not apply to them"),
            )
            .help("if the callee recognises a repetition, add nonIdempotent: Allow");
    }
}

/// Whether all attempts can be made within the time of the call.
pub(super) fn fits(
    resource: &Resource,
    at: &str,
    timeouts: &RouteTimeouts,
    rule: &Rule<'_>,
    retry: Option<&RetryPolicy>,
    findings: &mut Findings,
) {
    let (Some(request), Some(attempt)) = (timeouts.request(), timeouts.attempt()) else {
        return;
    };
    let attempts = 1 + retry.map_or(0, RetryPolicy::attempts);
    if attempt.saturating_mul(attempts) <= request {
        return;
    }
    let show = |d: Duration| Interval::new(d).to_string();
    let plural = if attempts == 1 { "" } else { "s" };
    let message = format!(
        "{attempts} attempt{plural} of {} cannot fit in the rule's timeout of {}",
        show(attempt),
        show(request)
    );
    let possible = request.as_millis() / attempt.as_millis().max(1);
    let enough = show(attempt.saturating_mul(attempts));
    let help = match possible {
        2.. => format!("use request: {enough} or attempts: {}", possible - 1),
        1 if attempts > 1 => format!("use request: {enough}, or do without `retry`"),
        _ => format!("use request: {enough} or backendRequest: {}", show(request)),
    };
    let explicit = rule.timeouts.is_some_and(|t| t.request.is_some());
    let first = if explicit {
        "request"
    } else {
        "backendRequest"
    };
    let finding = findings
        .error(
            resource,
            format!("{at}.timeouts.{first}"),
            Code::POLICY_ATTEMPTS_TIMEOUT,
            message,
        )
        .help(help);
    if retry.is_some() {
        finding.related(resource, &format!("{at}.retry.attempts"));
    } else if explicit {
        finding.related(resource, &format!("{at}.timeouts.backendRequest"));
    }
}
