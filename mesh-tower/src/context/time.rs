//! The time that a call has: its clock, its limits, the timers that wake it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::CallContext;
use crate::runtime;

/// While it exists, the timer of an attempt wakes the call before its deadline.
#[derive(Debug)]
pub(crate) struct Timed(CallContext);

impl CallContext {
    /// The time as of this step of the call, on tokio's clock.
    ///
    /// A layer that passes a request down or an answer up takes no time worth a reading, so in the
    /// assembled client the clock is read where time passes: at the start, where an answer arrives
    /// from a connection, and after each wait ([`tick`](Self::tick)). Elsewhere it is read each
    /// time.
    pub fn now(&self) -> Instant {
        match self.0.clock.load(Ordering::Relaxed) {
            0 => self.0.started,
            u64::MAX => runtime::now(),
            nanos => self.0.started + Duration::from_nanos(nanos),
        }
    }

    /// Reads the clock for all that follows: to be called by whoever has waited.
    pub fn tick(&self) -> Instant {
        let now = runtime::now();
        if self.0.clock.load(Ordering::Relaxed) != u64::MAX {
            let nanos = self.nanos_until(now);
            self.0.clock.store(nanos, Ordering::Relaxed);
        }
        now
    }

    /// Nanoseconds after the start that the call has as of now; `u64::MAX` for no limit. Nobody answers
    /// before the request is there: a limit counts from its last piece, but for a caller's that holds
    /// whatever is sent.
    fn limit(&self) -> u64 {
        let limit = self.0.deadline.load(Ordering::Relaxed);
        if limit == u64::MAX {
            return limit;
        }
        let moved = nanos(self.0.body.moved(self.0.started));
        let limit = limit.saturating_add(moved).min(u64::MAX - 1);
        limit.min(self.0.fixed.load(Ordering::Relaxed))
    }

    /// From the start to the last piece of the request's body.
    pub(crate) fn sent_for(&self) -> Duration {
        self.0.body.moved(self.0.started)
    }

    /// When the call must be over, if anything limits it. The pieces of a request's body move it.
    pub fn deadline(&self) -> Option<Instant> {
        match self.limit() {
            u64::MAX => None,
            nanos => self.0.started.checked_add(Duration::from_nanos(nanos)),
        }
    }

    /// What is left until the deadline; zero when it has passed.
    pub fn remaining(&self, now: Instant) -> Option<Duration> {
        self.deadline()
            .map(|deadline| deadline.saturating_duration_since(now))
    }

    /// How long the call has lasted, as of this step: see [`now`](Self::now).
    pub fn elapsed(&self) -> Duration {
        match self.0.clock.load(Ordering::Relaxed) {
            u64::MAX => runtime::now().saturating_duration_since(self.0.started),
            nanos => Duration::from_nanos(nanos),
        }
    }

    /// What is left until the deadline as of this step.
    pub(crate) fn left(&self) -> Option<Duration> {
        match self.limit() {
            u64::MAX => None,
            nanos => Some(Duration::from_nanos(nanos).saturating_sub(self.elapsed())),
        }
    }

    /// Gives the call at most `limit` from its start on.
    pub(crate) fn limit_to(&self, limit: Duration) {
        self.0.deadline.fetch_min(nanos(limit), Ordering::Relaxed);
    }

    /// Brings the deadline forward, to an instant that holds whatever is sent; a later one than there is
    /// changes nothing.
    pub fn limit_deadline(&self, deadline: Instant) {
        let nanos = self.nanos_until(deadline);
        self.0.fixed.fetch_min(nanos, Ordering::Relaxed);
        self.0.deadline.fetch_min(nanos, Ordering::Relaxed);
    }

    /// The deadline that the caller of this process set; no policy extends it.
    pub(crate) fn limit_inherited(&self, deadline: Instant, is_fixed: bool) {
        let nanos = self.nanos_until(deadline);
        self.0.inherited.fetch_min(nanos, Ordering::Relaxed);
        self.0.deadline.fetch_min(nanos, Ordering::Relaxed);
        if is_fixed {
            self.0.fixed.fetch_min(nanos, Ordering::Relaxed);
        }
    }

    pub(crate) fn has_inherited_deadline(&self) -> bool {
        self.0.inherited.load(Ordering::Relaxed) != u64::MAX
    }

    /// Replaces the default limit from the start on by the route's own; `None` leaves only the
    /// inherited deadline.
    pub(crate) fn set_local_limit(&self, limit: Option<Duration>) {
        let local = limit.map_or(u64::MAX, nanos);
        let inherited = self.0.inherited.load(Ordering::Relaxed);
        self.0
            .deadline
            .store(local.min(inherited), Ordering::Relaxed);
    }

    fn nanos_until(&self, deadline: Instant) -> u64 {
        nanos(deadline.saturating_duration_since(self.0.started))
    }

    /// Says that a timer for `at` is running in the task of this call. Then the call needs none of
    /// its own for a later deadline: it is polled in time, and sets one if the attempt was not the
    /// end of it. `None` where a layer that is not ours may leave the attempt's end unseen.
    pub(crate) fn timed(&self, at: Instant) -> Option<Timed> {
        let before = self.deadline().is_some_and(|deadline| at < deadline);
        if !before || self.0.elsewhere.load(Ordering::Relaxed) {
            return None;
        }
        self.0.timed.store(true, Ordering::Relaxed);
        Some(Timed(self.clone()))
    }

    /// Says that attempts may be made on other tasks, so that their timers do not wake the call.
    pub(crate) fn elsewhere(&self) {
        self.0.elsewhere.store(true, Ordering::Relaxed);
    }

    /// Whether a [`Timed`] exists.
    pub(crate) fn is_timed(&self) -> bool {
        self.0.timed.load(Ordering::Relaxed)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).map_or(u64::MAX - 1, |nanos| nanos.min(u64::MAX - 1))
}

// === impl Timed ===

impl Drop for Timed {
    fn drop(&mut self) {
        self.0.0.timed.store(false, Ordering::Relaxed);
    }
}
