use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::tunables::tunables;
use super::{Operation, Origins, Peer};
use crate::context::Criticality;
use crate::policy::defaults;
pub use crate::policy::spec::ConcurrencyAlgorithm;
use crate::policy::spec::ResourceId;

/// What a server of a service does with the calls that arrive.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct InboundTraffic {
    pub(crate) rate_limits: Arc<[RateLimit]>,
    pub(crate) concurrency: ConcurrencyPolicy,
    pub(crate) queue: QueuePolicy,
    pub(crate) criticality: CriticalityPolicy,
    pub(crate) timeout: Option<Duration>,
    pub(crate) origins: Origins,
}

/// How many calls in a time (GCRA): `requests` in `per`, of which `burst` may come at once.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    pub(crate) name: Arc<str>,
    pub(crate) keys: Arc<[RateKey]>,
    pub(crate) requests: u32,
    pub(crate) per: Duration,
    pub(crate) burst: u32,
    pub(crate) matches: Arc<[Operation]>,
    pub(crate) overrides: Arc<[RateOverride]>,
}

/// What divides calls into buckets of their own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RateKey {
    /// The caller's identity; callers without one share a bucket.
    Identity,
    /// The value of a header; calls without it share a bucket.
    Header(HeaderName),
    /// The HTTP method.
    Method,
    /// The path, without the query.
    Path,
}

/// Another number for some callers, instead of the limit's own.
#[derive(Clone, Debug, PartialEq)]
pub struct RateOverride {
    pub(crate) from: Arc<[Peer]>,
    pub(crate) requests: u32,
    pub(crate) burst: u32,
}

tunables! {
    /// How many calls a server works on at a time, found by its own latency.
    pub struct ConcurrencyPolicy {
        /// How the limit is found.
        algorithm / with_algorithm: ConcurrencyAlgorithm = ConcurrencyAlgorithm::Gradient2;
        /// The limit at the start; with `Fixed`, the limit.
        initial / with_initial: u32 = defaults::CONCURRENCY_INITIAL;
        /// Least limit.
        min / with_min: u32 = defaults::CONCURRENCY_MIN;
        /// Greatest limit.
        max / with_max: u32 = defaults::CONCURRENCY_MAX;
        /// Part of a new value that counts at once, in thousandths (Gradient2).
        smoothing_milli / with_smoothing_milli: u32 = defaults::CONCURRENCY_SMOOTHING_MILLI;
        /// Latency above the usual one that is still no queue, in thousandths (Gradient2).
        tolerance_milli / with_tolerance_milli: u32 = defaults::CONCURRENCY_TOLERANCE_MILLI;
        /// Calls by which the limit may grow at a time (Gradient2).
        queue / with_queue: u32 = defaults::CONCURRENCY_QUEUE;
        /// Samples of the usual latency (Gradient2).
        long_window / with_long_window: u32 = defaults::CONCURRENCY_LONG_WINDOW;
        /// What is left of the limit after a drop, in thousandths (Aimd).
        backoff_milli / with_backoff_milli: u32 = defaults::CONCURRENCY_BACKOFF_MILLI;
        /// A call that takes longer counts as a drop (Aimd).
        slow_after / with_slow_after: Duration = defaults::CONCURRENCY_SLOW_AFTER;
    }
}

tunables! {
    /// Where calls wait that are above the limit of [`ConcurrencyPolicy`] (CoDel; newest first
    /// under overload).
    pub struct QueuePolicy {
        /// Most calls that wait; 0 is no queue.
        size / with_size: u32 = defaults::QUEUE_SIZE;
        /// A wait that is acceptable at all times.
        target / with_target: Duration = defaults::QUEUE_TARGET;
        /// The queue is overloaded when no call waited less than `target` for so long.
        interval / with_interval: Duration = defaults::QUEUE_INTERVAL;
    }
}

/// How much calls matter that arrive.
#[derive(Clone, Debug, PartialEq)]
pub struct CriticalityPolicy {
    pub(crate) trust_mesh: bool,
    pub(crate) default_level: Criticality,
    pub(crate) rules: Arc<[CriticalityRule]>,
}

/// Calls of one level, whatever their header says.
#[derive(Clone, Debug, PartialEq)]
pub struct CriticalityRule {
    pub(crate) from: Arc<[Peer]>,
    pub(crate) matches: Arc<[Operation]>,
    pub(crate) level: Criticality,
}

// === impl InboundTraffic ===

impl InboundTraffic {
    /// Limits in the order in which they are asked: those of the whole service first.
    pub fn rate_limits(&self) -> &Arc<[RateLimit]> {
        &self.rate_limits
    }

    /// How many calls are worked on at a time.
    pub fn concurrency(&self) -> &ConcurrencyPolicy {
        &self.concurrency
    }

    /// Where the others wait.
    pub fn queue(&self) -> &QueuePolicy {
        &self.queue
    }

    /// How much calls matter.
    pub fn criticality(&self) -> &CriticalityPolicy {
        &self.criticality
    }

    /// Longest time for an answer, whatever the caller allows; `None` leaves it to the caller.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// The policy that sets a field of `inbound` in a TrafficPolicy, such as `concurrency`; `None`
    /// where nobody does.
    pub fn origin(&self, field: &str) -> Option<&ResourceId> {
        self.origins.of(field)
    }

    /// The same with other limits. Those of the whole service go before the others.
    #[must_use]
    pub fn with_rate_limits(mut self, limits: impl IntoIterator<Item = RateLimit>) -> Self {
        let mut limits: Vec<_> = limits.into_iter().collect();
        limits.sort_by_key(|limit| !limit.is_total());
        self.rate_limits = limits.into();
        self
    }

    /// The same with another limit of concurrency.
    #[must_use]
    pub fn with_concurrency(mut self, concurrency: ConcurrencyPolicy) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// The same with another queue.
    #[must_use]
    pub fn with_queue(mut self, queue: QueuePolicy) -> Self {
        self.queue = queue;
        self
    }

    /// The same with another rule for how much calls matter.
    #[must_use]
    pub fn with_criticality(mut self, criticality: CriticalityPolicy) -> Self {
        self.criticality = criticality;
        self
    }

    /// The same with another time for an answer.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }
}

// === impl RateLimit ===

impl RateLimit {
    /// `requests` in `per`, all of which may come at once; one bucket for all calls.
    pub fn new(name: impl Into<Arc<str>>, requests: u32, per: Duration) -> Self {
        Self {
            name: name.into(),
            keys: Arc::default(),
            requests,
            per,
            burst: requests,
            matches: Arc::default(),
            overrides: Arc::default(),
        }
    }

    /// Its name, a label of metrics.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What divides calls into buckets; none is one bucket for all.
    pub fn keys(&self) -> &[RateKey] {
        &self.keys
    }

    /// Whether one bucket holds all calls; such limits are asked first (Linkerd).
    pub fn is_total(&self) -> bool {
        self.keys.is_empty()
    }

    /// Calls in [`per`](Self::per); at least 1.
    pub fn requests(&self) -> u32 {
        self.requests
    }

    /// The time in which [`requests`](Self::requests) may come.
    pub fn per(&self) -> Duration {
        self.per
    }

    /// Calls that may come at once; at least 1.
    pub fn burst(&self) -> u32 {
        self.burst
    }

    /// Calls that count, any of these; empty is every call.
    pub fn matches(&self) -> &[Operation] {
        &self.matches
    }

    /// Other numbers for some callers; the first that names the caller counts.
    pub fn overrides(&self) -> &[RateOverride] {
        &self.overrides
    }

    /// The same with other keys.
    #[must_use]
    pub fn with_keys(mut self, keys: impl Into<Arc<[RateKey]>>) -> Self {
        self.keys = keys.into();
        self
    }

    /// The same with another burst.
    #[must_use]
    pub fn with_burst(mut self, burst: u32) -> Self {
        self.burst = burst;
        self
    }

    /// The same for these calls only.
    #[must_use]
    pub fn with_matches(mut self, matches: impl Into<Arc<[Operation]>>) -> Self {
        self.matches = matches.into();
        self
    }

    /// The same with other numbers for some callers.
    #[must_use]
    pub fn with_overrides(mut self, overrides: impl Into<Arc<[RateOverride]>>) -> Self {
        self.overrides = overrides.into();
        self
    }
}

// === impl RateOverride ===

impl RateOverride {
    /// `requests` for each of `from`, all of which may come at once.
    pub fn new(from: impl Into<Arc<[Peer]>>, requests: u32) -> Self {
        Self {
            from: from.into(),
            requests,
            burst: requests,
        }
    }

    /// The callers.
    pub fn from(&self) -> &[Peer] {
        &self.from
    }

    /// Calls in the time of the limit; at least 1.
    pub fn requests(&self) -> u32 {
        self.requests
    }

    /// Calls that may come at once; at least 1.
    pub fn burst(&self) -> u32 {
        self.burst
    }

    /// The same with another burst.
    #[must_use]
    pub fn with_burst(mut self, burst: u32) -> Self {
        self.burst = burst;
        self
    }
}

// === impl CriticalityPolicy ===

impl Default for CriticalityPolicy {
    fn default() -> Self {
        Self {
            trust_mesh: true,
            default_level: Criticality::Critical,
            rules: Arc::default(),
        }
    }
}

impl CriticalityPolicy {
    /// Whether the header of a caller with an identity of the mesh counts. That of others never
    /// does.
    pub fn trust_mesh(&self) -> bool {
        self.trust_mesh
    }

    /// The level of calls that no rule and no header gives one.
    pub fn default_level(&self) -> Criticality {
        self.default_level
    }

    /// The first rule that fits gives the level.
    pub fn rules(&self) -> &[CriticalityRule] {
        &self.rules
    }

    /// The same; whether the header of mesh callers counts.
    #[must_use]
    pub fn with_trust_mesh(mut self, trust: bool) -> Self {
        self.trust_mesh = trust;
        self
    }

    /// The same with another level where nothing is said.
    #[must_use]
    pub fn with_default_level(mut self, level: Criticality) -> Self {
        self.default_level = level;
        self
    }

    /// The same with other rules.
    #[must_use]
    pub fn with_rules(mut self, rules: impl Into<Arc<[CriticalityRule]>>) -> Self {
        self.rules = rules.into();
        self
    }
}

// === impl CriticalityRule ===

impl CriticalityRule {
    /// Calls by `from` of `matches` are `level`; an empty list is any.
    pub fn new(
        from: impl Into<Arc<[Peer]>>,
        matches: impl Into<Arc<[Operation]>>,
        level: Criticality,
    ) -> Self {
        Self {
            from: from.into(),
            matches: matches.into(),
            level,
        }
    }

    /// The callers; empty is everyone.
    pub fn from(&self) -> &[Peer] {
        &self.from
    }

    /// The calls, any of these; empty is every call.
    pub fn matches(&self) -> &[Operation] {
        &self.matches
    }

    /// Their level.
    pub fn level(&self) -> Criticality {
        self.level
    }
}
