use std::fmt;
use std::time::{Duration, Instant};

use http::Method;

use super::{Backoff, Budget, RetryPolicy};
use crate::classify::grpc::Pushback;
use crate::classify::{Class, FailureKind};
use crate::error::Flags;
use crate::policy::defaults;

/// Longest wait that a server may ask for before a retry; more means "not now".
pub(crate) const LONGEST_PUSHBACK: Duration = Duration::from_secs(300);

/// An attempt that did not succeed.
#[derive(Clone, Debug)]
pub struct Failed<'a> {
    /// What it came to.
    pub class: Class,
    /// HTTP status of the answer. For a gRPC status give [`Failed::grpc`] instead.
    pub status: Option<u16>,
    /// gRPC status of the answer.
    pub grpc: Option<u32>,
    /// What is known about whether it was processed.
    pub flags: Flags,
    /// Method of the request.
    pub method: &'a Method,
    /// Attempts made so far, this one included: 1 after the first.
    pub attempts: u32,
    /// The body can be sent again.
    pub replayable: bool,
    /// `Retry-After` or gRPC pushback of the answer.
    pub pushback: Option<Pushback>,
}

/// What limits the retries of a call.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// The route's policy, if it has one.
    pub policy: Option<&'a RetryPolicy>,
    /// Above 0 when the request that caused this call arrived as a retry (chain stop).
    pub arrived_attempt: u32,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
    /// How long an attempt takes as a rule (the median); zero when not known.
    pub expected: Duration,
    /// The endpoint cannot be reached, and another one that this call has not tried can, as far as
    /// is known.
    pub elsewhere: bool,
    /// The attempt tried an endpoint that is out of rotation or in doubt, so that the calls after it
    /// need not, and one that this call has not tried is in rotation.
    pub probe: bool,
}

/// Whether to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, after a pause.
    Retry {
        /// How long to wait.
        pause: Duration,
        /// Why it is allowed.
        reason: RetryReason,
        /// The budget has paid; [`Budget::refund`] it if the retry is not made.
        paid: bool,
        /// It counts under the ceiling of retries in flight (`ceilings.maxRetries`).
        counted: bool,
    },
    /// No.
    Stop(StopReason),
}

/// Why an attempt may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetryReason {
    /// Nothing of it was sent.
    NeverSent,
    /// The peer said that it was not processed.
    Refused,
    /// The route lists the status.
    Status,
    /// The connection broke or the attempt took too long, on a route that retries.
    Broken,
}

/// Why an attempt is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StopReason {
    /// It did not fail, or in a way that is an answer.
    NotAFailure,
    /// No policy of the route covers it, and it may have been processed.
    NoPolicy,
    /// The method is not idempotent, and the route does not name that.
    NotIdempotent,
    /// As many attempts as allowed were made.
    Attempts,
    /// The request itself arrived as a retry.
    ChainStop,
    /// The body is gone or was too large to keep.
    Body,
    /// The server asked for no retry.
    Pushback,
    /// The deadline leaves no room for another attempt.
    Deadline,
    /// The budget is empty.
    Budget,
    /// As many retries are in flight as the ceiling allows.
    Ceiling,
}

/// The decision after an attempt. Asks the budget last, and only when everything else allows.
///
/// The budget bounds what retries add to the load of the callee. A call that could not reach one
/// endpoint while another is reachable adds nothing: what goes there is the first of it that any
/// endpoint sees (a transparent retry of gRFC A6, which does not count either). So it needs no
/// budget, at most twice a call. When all refuse, each is known to after one call, none is
/// reachable, and the budget counts again. Nor does a stream that the peer's HTTP/2 has refused
/// (GOAWAY, REFUSED_STREAM): one GOAWAY refuses hundreds at once, and no work was done for any.
/// Nor does a call that was the probe of an endpoint: it is one in seconds, and its caller has not
/// asked to be the one.
///
/// The ceiling of retries in flight is for those whose earlier attempt may still be at work at the
/// callee: answers that say "overloaded", and timeouts. A call that was never sent, or whose
/// connection ended before an answer, is a *requeue* (Finagle's word): a process that dies breaks all
/// that was in flight on it in one moment, which is any share of the calls, and what it worked on
/// died with it; its shim, if it has one, then refuses what comes until that is known. So a requeue
/// needs no place under the ceiling, like all retries in Finagle and Linkerd, which have none. The
/// budget pays for it: a callee whose every connection dies sees no more than 20 % and 10 a second
/// above the calls.
pub fn may_retry(
    failed: &Failed<'_>,
    limits: &Limits<'_>,
    budget: &Budget,
    now: Instant,
    rng: &mut fastrand::Rng,
) -> Verdict {
    match allowed(failed, limits, now, rng) {
        Err(stop) => Verdict::Stop(stop),
        Ok((pause, reason)) => {
            let paid = !is_free(failed, limits, reason);
            if paid && !budget.withdraw(now) {
                return Verdict::Stop(StopReason::Budget);
            }
            Verdict::Retry {
                pause,
                reason,
                paid,
                counted: paid && !failed.is_requeue(),
            }
        }
    }
}

fn is_free(failed: &Failed<'_>, limits: &Limits<'_>, reason: RetryReason) -> bool {
    let elsewhere = reason == RetryReason::NeverSent && limits.elsewhere;
    (elsewhere || limits.probe || is_refused_stream(failed, reason))
        && failed.attempts <= defaults::TRANSPARENT_RETRIES
}

/// Refused by the connection, not by an answer, which is some work to make.
fn is_refused_stream(failed: &Failed<'_>, reason: RetryReason) -> bool {
    reason == RetryReason::Refused && failed.status.is_none() && failed.grpc.is_none()
}

fn allowed(
    failed: &Failed<'_>,
    limits: &Limits<'_>,
    now: Instant,
    rng: &mut fastrand::Rng,
) -> Result<(Duration, RetryReason), StopReason> {
    let reason = eligible(failed, limits.policy)?;
    if failed.flags.non_retryable || failed.pushback == Some(Pushback::Never) {
        return Err(StopReason::Pushback);
    }
    if !failed.replayable {
        return Err(StopReason::Body);
    }
    // What was never sent adds no load below, so it does not multiply along a chain. Nor do probes:
    // there is one at a time, whatever the number of calls.
    let multiplies =
        reason != RetryReason::NeverSent && !is_refused_stream(failed, reason) && !limits.probe;
    if limits.arrived_attempt > 0 && multiplies {
        return Err(StopReason::ChainStop);
    }
    if failed.attempts > most_retries(limits.policy, reason) {
        return Err(StopReason::Attempts);
    }
    let backoff = limits.policy.map_or_else(Backoff::default, Backoff::from);
    let mut pause = backoff.pause(failed.attempts, rng);
    if let Some(Pushback::After(asked)) = failed.pushback {
        if asked > LONGEST_PUSHBACK {
            return Err(StopReason::Pushback);
        }
        // Up to half as much again, so that the clients of a server do not return together.
        pause = asked.mul_f64(1.0 + rng.f64() / 2.0);
    }
    let ends = now
        .checked_add(pause)
        .and_then(|then| then.checked_add(limits.expected));
    match (limits.deadline, ends) {
        (Some(deadline), Some(ends)) if ends >= deadline => Err(StopReason::Deadline),
        (Some(_), None) => Err(StopReason::Deadline),
        _ => Ok((pause, reason)),
    }
}

/// Whether such a failure may be repeated at all.
fn eligible(failed: &Failed<'_>, policy: Option<&RetryPolicy>) -> Result<RetryReason, StopReason> {
    if failed.flags.never_sent {
        return Ok(RetryReason::NeverSent);
    }
    if failed.flags.refused {
        return Ok(RetryReason::Refused);
    }
    let status = failed.status.or(failed.grpc.and_then(http_of_grpc));
    let listed = |policy: &RetryPolicy| status.is_some_and(|s| policy.retries_status(s));
    let broken = failed.status.is_none()
        && failed.grpc.is_none()
        && matches!(
            failed.class,
            Class::Failure(FailureKind::Transport | FailureKind::Timeout)
        );
    let reason = match policy {
        Some(policy) if listed(policy) => RetryReason::Status,
        Some(_) if broken => RetryReason::Broken,
        _ if failed.class.is_failure() => return Err(StopReason::NoPolicy),
        _ => return Err(StopReason::NotAFailure),
    };
    match policy {
        Some(policy) if policy.retries_method(failed.method) => Ok(reason),
        _ => Err(StopReason::NotIdempotent),
    }
}

/// Retries allowed for one call. What provably was not processed gets two in any case, unless the
/// route says zero.
fn most_retries(policy: Option<&RetryPolicy>, reason: RetryReason) -> u32 {
    let provable = matches!(reason, RetryReason::NeverSent | RetryReason::Refused);
    match policy {
        None => defaults::TRANSPARENT_RETRIES,
        Some(policy) if policy.attempts() == 0 => 0,
        Some(policy) if provable => policy.attempts().max(defaults::TRANSPARENT_RETRIES),
        Some(policy) => policy.attempts(),
    }
}

/// The HTTP status that stands for a gRPC one in a route's list of codes.
pub(crate) fn http_of_grpc(code: u32) -> Option<u16> {
    Some(match code {
        1 => 499,
        2 | 13 | 15 => 500,
        4 => 504,
        8 => 429,
        10 => 409,
        14 => 503,
        _ => return None,
    })
}

// === impl Failed ===

impl Failed<'_> {
    /// Whether nobody works on the call any more: it was never sent, or its connection ended without an
    /// answer. What repeats it stands in its place and needs none under the ceiling of retries in flight.
    pub fn is_requeue(&self) -> bool {
        let gone = self.flags.broken || self.flags.never_sent;
        gone && self.status.is_none() && self.grpc.is_none()
    }
}

// === impl RetryReason ===

impl RetryReason {
    /// The word used in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NeverSent => "never_sent",
            Self::Refused => "refused",
            Self::Status => "status",
            Self::Broken => "broken",
        }
    }
}

impl fmt::Display for RetryReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

// === impl StopReason ===

impl StopReason {
    /// The word used in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotAFailure => "not_a_failure",
            Self::NoPolicy => "no_policy",
            Self::NotIdempotent => "not_idempotent",
            Self::Attempts => "attempts",
            Self::ChainStop => "chain_stop",
            Self::Body => "body",
            Self::Pushback => "pushback",
            Self::Deadline => "deadline",
            Self::Budget => "budget",
            Self::Ceiling => "ceiling",
        }
    }
}

/// As in the story of an error: `not made: retry budget empty`.
impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAFailure => "the answer is no failure",
            Self::NoPolicy => "no retry policy covers it",
            Self::NotIdempotent => "the method is not idempotent",
            Self::Attempts => "all allowed attempts were made",
            Self::ChainStop => "the request arrived as a retry",
            Self::Body => "the body cannot be sent again",
            Self::Pushback => "the server asked for no retry",
            Self::Deadline => "no time left before the deadline",
            Self::Budget => "retry budget empty",
            Self::Ceiling => "the ceiling of retries in flight (maxRetries) is reached",
        })
    }
}
