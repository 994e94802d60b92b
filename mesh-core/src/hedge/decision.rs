use std::time::{Duration, Instant};

use super::Hedger;
use crate::classify::grpc::Pushback;
use crate::retry::{Budget, Failed, LONGEST_PUSHBACK, Limits, StopReason};

/// What follows a failed attempt of a hedged call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<T = ()> {
    /// Another attempt at once (A6: a status that is not fatal). The retry budget has paid.
    AtOnce(T),
    /// Another attempt after this time, which the server asked for. The retry budget has paid.
    After(Duration, T),
    /// None.
    Stop(StopReason),
}

/// Whether another attempt may start because the first takes long. Pays with the hedge budget.
///
/// # Errors
/// Why not.
pub fn may_hedge(
    hedger: &Hedger,
    attempts: u32,
    limits: &Limits<'_>,
    now: Instant,
) -> Result<(), StopReason> {
    if limits.arrived_attempt > 0 {
        return Err(StopReason::ChainStop);
    }
    if attempts >= hedger.attempts() {
        return Err(StopReason::Attempts);
    }
    in_time(limits, Duration::ZERO, now)?;
    match hedger.withdraw(now) {
        true => Ok(()),
        false => Err(StopReason::Budget),
    }
}

/// What to do after an attempt of a hedged call has failed. It replaces one that is over, so it is
/// paid for as a retry is; that the call may be repeated is known.
pub fn after_failure(
    hedger: &Hedger,
    failed: &Failed<'_>,
    limits: &Limits<'_>,
    budget: &Budget,
    now: Instant,
    rng: &mut fastrand::Rng,
) -> Next {
    let wait = match failed.pushback {
        _ if failed.flags.non_retryable => return Next::Stop(StopReason::Pushback),
        Some(Pushback::Never) => return Next::Stop(StopReason::Pushback),
        Some(Pushback::After(wait)) if wait > LONGEST_PUSHBACK => {
            return Next::Stop(StopReason::Pushback);
        }
        Some(Pushback::After(wait)) => wait.mul_f64(1.0 + rng.f64() / 2.0),
        None => Duration::ZERO,
    };
    if !failed.class.is_failure() {
        return Next::Stop(StopReason::NotAFailure);
    }
    if failed.attempts >= hedger.attempts() {
        return Next::Stop(StopReason::Attempts);
    }
    if !failed.replayable {
        return Next::Stop(StopReason::Body);
    }
    if limits.arrived_attempt > 0 && !failed.flags.never_sent {
        return Next::Stop(StopReason::ChainStop);
    }
    if let Err(why) = in_time(limits, wait, now) {
        return Next::Stop(why);
    }
    if !budget.withdraw(now) {
        return Next::Stop(StopReason::Budget);
    }
    match wait {
        Duration::ZERO => Next::AtOnce(()),
        wait => Next::After(wait, ()),
    }
}

fn in_time(limits: &Limits<'_>, wait: Duration, now: Instant) -> Result<(), StopReason> {
    let ends = now
        .checked_add(wait)
        .and_then(|then| then.checked_add(limits.expected));
    match (limits.deadline, ends) {
        (Some(deadline), Some(ends)) if ends >= deadline => Err(StopReason::Deadline),
        (Some(_), None) => Err(StopReason::Deadline),
        _ => Ok(()),
    }
}
