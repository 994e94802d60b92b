//! Whether a call or an attempt may pass: hedge, throttle, rate limit, limiter, ceiling and criticality, set up once and repeatable.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method};
use mesh_core::ceiling::Ceiling;
use mesh_core::context::{Arrival, Criticality};
use mesh_core::hedge::Hedger;
use mesh_core::identity::SpiffeId;
use mesh_core::overload::throttle::Throttle;
use mesh_core::overload::{Entry, Gate, Outcome, level};
use mesh_core::policy::{
    ConcurrencyPolicy, CriticalityPolicy, HedgePolicy, QueuePolicy, RateLimit, ThrottlePolicy,
};
use mesh_core::ratelimit::RateLimits;

const MS: Duration = Duration::from_millis(1);

/// The delay of a hedge, by the latencies seen.
#[derive(Debug)]
pub struct Hedging {
    hedger: Hedger,
    now: Instant,
}

impl Hedging {
    /// By the default policy, with latencies of 1 to 100 ms.
    #[must_use]
    pub fn new() -> Self {
        let hedger = Hedger::new(&HedgePolicy::default());
        (1..=100).for_each(|ms| hedger.observe(ms * MS));
        Self {
            hedger,
            now: Instant::now(),
        }
    }

    /// One call: its delay, its latency, and a hedge if it is paid for. True when the delay is known.
    pub fn run(&mut self) -> bool {
        self.now += MS;
        let delay = self.hedger.begin(self.now);
        self.hedger.observe(20 * MS);
        self.hedger.withdraw(self.now);
        delay.is_some()
    }
}

impl Default for Hedging {
    fn default() -> Self {
        Self::new()
    }
}

/// Attempts through the client's throttle.
#[derive(Debug)]
pub struct Throttling {
    throttle: Throttle,
    rng: fastrand::Rng,
    now: Instant,
    calls: u32,
}

impl Throttling {
    /// A throttle by the default policy.
    #[must_use]
    pub fn new() -> Self {
        Self {
            throttle: Throttle::new(&ThrottlePolicy::default()),
            rng: fastrand::Rng::with_seed(7),
            now: Instant::now(),
            calls: 0,
        }
    }

    /// One attempt; the backend refuses three of four. True when it passed.
    pub fn run(&mut self) -> bool {
        self.calls = self.calls.wrapping_add(1);
        self.now += MS;
        let ticket = self
            .throttle
            .admit(Criticality::Critical, self.now, &mut self.rng);
        let passed = ticket.is_some();
        if let Some(ticket) = ticket.filter(|_| !self.calls.is_multiple_of(4)) {
            self.throttle.refused(ticket, self.now);
        }
        passed
    }
}

impl Default for Throttling {
    fn default() -> Self {
        Self::new()
    }
}

/// Calls under a rate limit of a whole service.
#[derive(Debug)]
pub struct Metering {
    limits: RateLimits,
    headers: HeaderMap,
    now: Instant,
}

impl Metering {
    /// 1,000 calls a second.
    #[must_use]
    pub fn new() -> Self {
        let now = Instant::now();
        let limit = RateLimit::new("all", 1_000, Duration::from_secs(1));
        Self {
            limits: RateLimits::new(&[limit], now),
            headers: HeaderMap::new(),
            now,
        }
    }

    /// One call of 800 a second. True when it passed.
    pub fn run(&mut self) -> bool {
        self.now += Duration::from_micros(1_250);
        let call = arrival(&self.headers);
        let passed = self.limits.check(self.now, &call, Criticality::Critical);
        passed.is_ok()
    }
}

impl Default for Metering {
    fn default() -> Self {
        Self::new()
    }
}

/// Calls through the adaptive limiter, which a queue stands before.
#[derive(Debug)]
pub struct Entering {
    gate: Gate<()>,
    now: Instant,
}

impl Entering {
    /// A gate by the default policies.
    #[must_use]
    pub fn new() -> Self {
        Self {
            gate: Gate::new(&ConcurrencyPolicy::default(), &QueuePolicy::default()),
            now: Instant::now(),
        }
    }

    /// One call: in, answered after 5 ms, out. True when it was admitted at once.
    pub fn run(&mut self) -> bool {
        self.now += MS;
        match self.gate.enter(self.now, Criticality::Critical, || ()) {
            Entry::Admitted(slot) => {
                self.gate.record(5 * MS, Outcome::Done);
                self.gate.leave(slot);
                true
            }
            _ => false,
        }
    }
}

impl Default for Entering {
    fn default() -> Self {
        Self::new()
    }
}

/// Calls whose criticality decides how much of a ceiling they may fill.
#[derive(Debug)]
pub struct Ranking {
    policy: CriticalityPolicy,
    ceiling: Ceiling,
    headers: HeaderMap,
    caller: SpiffeId,
}

impl Ranking {
    /// A call that says that it is sheddable, under a ceiling of 1,024.
    #[must_use]
    pub fn new() -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(
            mesh_core::metadata::CRITICALITY,
            HeaderValue::from_static(Criticality::Sheddable.as_str()),
        );
        Self {
            policy: CriticalityPolicy::default(),
            ceiling: Ceiling::new(1_024),
            headers,
            caller: SpiffeId::parse("spiffe://mesh.local/ns/shop/sa/web").expect("an identity"),
        }
    }

    /// One call: its level, and a place under the ceiling.
    #[must_use]
    pub fn run(&self) -> bool {
        let mut call = arrival(&self.headers);
        call.peer = Some(&self.caller);
        let level = level(&self.policy, &call);
        let permit = self.ceiling.try_acquire_for(level);
        permit.is_some() && level == Criticality::Sheddable
    }
}

impl Default for Ranking {
    fn default() -> Self {
        Self::new()
    }
}

fn arrival(headers: &HeaderMap) -> Arrival<'_> {
    Arrival {
        peer: None,
        domain: None,
        method: &Method::GET,
        path: "/reviews/7",
        grpc: false,
        headers,
    }
}
