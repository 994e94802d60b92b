use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client_weighted::Reported;
use super::ewma::PeakEwma;
use super::hash::stable_id;
use super::reach::Reach;
use super::set::Load;
use super::{EndpointInfo, LoadReport, slow_start};
use crate::ejection::EjectionState;
use crate::health::{Change, HealthState, Verdict};
use crate::policy::BalancePolicy;
use crate::policy::model::HealthTiming;
use crate::report::EndpointHealth;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Longest wait that an endpoint may ask for and that counts as its latency.
const LONGEST_PUSHBACK: Duration = Duration::from_secs(300);

/// One endpoint: what discovery says about it, and what was observed. Lock free.
///
/// The observations outlive a change of labels, zone or weight: the next set's state shares them.
pub struct EndpointState {
    info: EndpointInfo,
    id: u64,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Of the whole set.
    load: Arc<Load>,
    reported: Reported,
    in_flight: AtomicU32,
    ewma: PeakEwma,
    reach: Reach,
    ejection: EjectionState,
    checks: HealthState,
    calls: AtomicU64,
    failures: AtomicU64,
}

/// A call in flight at an endpoint; dropping it is the only way to end it. Keep it until the
/// *body* of the answer has ended: a stream is load.
#[must_use = "the call is in flight until this is dropped"]
pub struct InFlight {
    seen: Arc<Seen>,
    /// In the load of the whole set too.
    counted: bool,
}

/// How a call ended, for the load estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// An answer that is no failure of the endpoint: its latency counts.
    Success,
    /// A failure of the endpoint, or no answer in time: the penalty counts (5 s), or the wait that
    /// the endpoint asked for (at most 300 s), or the present estimate, whichever is more.
    Failure {
        /// `Retry-After` or gRPC pushback.
        retry_after: Option<Duration>,
    },
    /// The caller went away: the call took at least this long, so it can only raise the estimate.
    Cancelled,
}

/// Whether a pick may take an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Availability {
    Ready,
    /// Not in rotation, but one call may try it now: see [`EndpointState::claim`].
    Due,
    Down,
}

// === impl EndpointState ===

impl EndpointState {
    pub(super) fn new(info: EndpointInfo, load: Arc<Load>) -> Self {
        Self {
            id: stable_id(&info),
            info,
            seen: Arc::new(Seen {
                load,
                ..Seen::default()
            }),
        }
    }

    /// The same endpoint under changed labels, zone or weight.
    pub(super) fn renewed(&self, info: EndpointInfo) -> Self {
        Self {
            info,
            id: self.id,
            seen: Arc::clone(&self.seen),
        }
    }

    /// What discovery says.
    pub fn info(&self) -> &EndpointInfo {
        &self.info
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.info.addr
    }

    /// A name for it that every process computes alike, from its address and identity.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Calls that have not ended.
    pub fn in_flight(&self) -> u32 {
        self.seen.in_flight.load(Relaxed)
    }

    /// Counts a call as in flight until the guard is dropped.
    pub fn begin(&self) -> InFlight {
        self.seen.in_flight.fetch_add(1, Relaxed);
        let counted = self.seen.load.counting.load(Relaxed);
        if counted {
            self.seen.load.in_flight.fetch_add(1, Relaxed);
        }
        InFlight {
            seen: Arc::clone(&self.seen),
            counted,
        }
    }

    /// Records how a call ended, with the default decay and penalty. `rtt` is the time to the
    /// answer's headers.
    pub fn record(&self, rtt: Duration, outcome: Outcome, now: Instant) {
        self.record_with(&BalancePolicy::default(), rtt, outcome, now);
    }

    /// Records how a call ended, with the decay and penalty of `policy`.
    pub fn record_with(
        &self,
        policy: &BalancePolicy,
        rtt: Duration,
        outcome: Outcome,
        now: Instant,
    ) {
        let decay = policy.decay();
        let present = || self.seen.ewma.read(decay, now).unwrap_or_default();
        let sample = match outcome {
            Outcome::Success => rtt,
            Outcome::Cancelled => rtt.max(present()),
            Outcome::Failure { retry_after } => {
                let asked = retry_after.unwrap_or_default().min(LONGEST_PUSHBACK);
                policy.failure_penalty().max(asked).max(present()).max(rtt)
            }
        };
        self.seen.calls.fetch_add(1, Relaxed);
        match outcome {
            Outcome::Success => {
                self.seen.ejection.answered(rtt);
                if self
                    .seen
                    .reach
                    .succeeded(now.checked_sub(rtt).unwrap_or(now))
                {
                    // Nor does this call's latency count: it had to wait for the connection.
                    return self.well_again(now);
                }
            }
            Outcome::Failure { .. } => {
                self.seen.failures.fetch_add(1, Relaxed);
            }
            Outcome::Cancelled => {}
        }
        self.seen.ewma.sample(sample, decay, now);
    }

    /// The estimated latency at `now`, with the default decay; `None` before the first call ended.
    pub fn est(&self, now: Instant) -> Option<Duration> {
        self.seen.ewma.read(BalancePolicy::default().decay(), now)
    }

    /// What a call here would cost: latency x (in flight + 1) / weight.
    ///
    /// Of an endpoint that has answered nothing yet the first call costs nothing (Finagle), else one
    /// that is assumed to be slower than its peers are would never get any; until that call is
    /// answered, others cost the latency that is assumed.
    pub(super) fn cost(&self, policy: &BalancePolicy, now: Instant) -> f32 {
        let in_flight = self.in_flight() as f32;
        let micros = match self.seen.ewma.micros(policy.decay(), now) {
            Some(estimate) => estimate.max(1.0),
            None if in_flight == 0.0 => return 0.0,
            None => policy.default_rtt().as_secs_f32() * 1e6,
        };
        micros * (in_flight + 1.0) / self.info.weight.max(1) as f32
    }

    /// Up to 1: how far the endpoint has warmed up.
    pub(super) fn warmup(&self, policy: &BalancePolicy, now: Instant) -> f32 {
        let Some(elapsed) = self.seen.ejection.restored_for(now) else {
            return 1.0;
        };
        slow_start::factor(
            elapsed,
            policy.slow_start(),
            policy.slow_start_min_percent(),
            policy.slow_start_aggression_milli(),
        )
    }

    /// Takes a load report of the endpoint (ORCA), for weights that clients compute.
    pub fn report(&self, policy: &BalancePolicy, report: &LoadReport, now: Instant) {
        let penalty = policy.orca_error_penalty_milli();
        self.seen.reported.take(report, penalty, now);
    }

    pub(super) fn reported(&self) -> &Reported {
        &self.seen.reported
    }

    /// Attempts that ended here, and those that failed, since the endpoint is known.
    pub fn totals(&self) -> (u64, u64) {
        (
            self.seen.calls.load(Relaxed),
            self.seen.failures.load(Relaxed),
        )
    }

    /// The state of its ejection.
    pub fn ejection(&self) -> &EjectionState {
        &self.seen.ejection
    }

    /// What active health checks have shown.
    pub fn checks(&self) -> &HealthState {
        &self.seen.checks
    }

    /// Counts what one active health check came to. The second value is whether it ended an
    /// ejection: a passed check of a healthy endpoint does
    /// (`successful_active_health_check_uneject_host` in Envoy), and the endpoint warms up as after
    /// a probe call.
    pub fn checked(
        &self,
        verdict: Verdict,
        timing: &HealthTiming,
        now: Instant,
    ) -> (Option<Change>, bool) {
        let seen = &*self.seen;
        let change = seen.checks.record(verdict, timing);
        let passed = matches!(verdict, Verdict::Passed | Verdict::Serving);
        if !passed || !seen.checks.is_healthy() {
            return (change, false);
        }
        if change == Some(Change::Healthy) {
            self.forget_latency();
            seen.ejection.warm_up(now);
        }
        let restored = !seen.ejection.is_available() && seen.ejection.restore(now);
        if restored {
            self.forget_latency();
        }
        (change, restored)
    }

    /// A connection could not be made.
    pub fn connect_failed(&self, now: Instant) {
        self.seen.reach.failed(now);
    }

    /// A connection broke under a call, or the peer would not take the call on it: whoever is there
    /// may be another by now. It stays in rotation, and a call tries it soon, whatever its latency.
    pub fn connection_broke(&self, now: Instant) {
        self.seen.reach.broke(now);
    }

    /// An answer came, whatever it says: connections can be made.
    pub fn answered(&self) {
        if !self.is_reachable() {
            // What it reported may have been of a process that is no more.
            self.seen.reported.restart();
        }
        self.seen.reach.reached();
    }

    /// It was connected to and is well, as far as somebody knows who has asked it (a health check):
    /// what connections that failed have cost it is forgotten, and it warms up.
    pub fn connected(&self, now: Instant) {
        if !self.is_reachable() {
            self.seen.reported.restart();
        }
        if self.seen.reach.prove() {
            self.well_again(now);
        }
    }

    /// Failures to connect, and the penalty for them, are of the past: it is judged by what it does
    /// from now on, and takes its share by and by.
    fn well_again(&self, now: Instant) {
        self.forget_latency();
        self.seen.ejection.warm(now);
    }

    /// Connections succeed, as far as is known.
    pub fn is_reachable(&self) -> bool {
        self.seen.reach.is_reachable()
    }

    /// It is in rotation, or one call may try it now.
    pub fn is_available(&self, now: Instant) -> bool {
        self.availability(now) != Availability::Down
    }

    /// What to report about it.
    pub fn health(&self) -> EndpointHealth {
        match self.seen.ejection.health() {
            _ if !self.seen.checks.is_healthy() => EndpointHealth::Unhealthy,
            EndpointHealth::Available if !self.is_reachable() => EndpointHealth::Unreachable,
            health => health,
        }
    }

    pub(crate) fn availability(&self, now: Instant) -> Availability {
        let seen = &*self.seen;
        if !seen.checks.is_healthy() {
            // The next check decides, and costs no call.
            return Availability::Down;
        }
        let ejected = seen.ejection.availability(now);
        if ejected == Availability::Down || seen.reach.is_proven() {
            ejected
        } else if seen.reach.is_due(now) {
            Availability::Due
        } else if seen.reach.is_reachable() {
            ejected
        } else {
            Availability::Down
        }
    }

    /// Takes the one call that may try an endpoint which is [`Availability::Due`].
    pub(crate) fn claim(&self, now: Instant) -> bool {
        let seen = &*self.seen;
        if seen.ejection.availability(now) == Availability::Due {
            return seen.ejection.claim(now);
        }
        seen.reach.claim(now)
    }

    /// Forgets the latency, so that an endpoint that returns is judged by what it does now.
    pub(crate) fn forget_latency(&self) {
        self.seen.ewma.reset();
    }
}

impl fmt::Debug for EndpointState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointState")
            .field("addr", &self.info.addr)
            .field("health", &self.health())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

// === impl InFlight ===

impl Drop for InFlight {
    fn drop(&mut self) {
        self.seen.in_flight.fetch_sub(1, Relaxed);
        if self.counted {
            self.seen.load.in_flight.fetch_sub(1, Relaxed);
        }
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InFlight")
    }
}
