use std::sync::Arc;
use std::time::Duration;

use super::tunables::tunables;
use super::{CriticalityPolicy, Origins, RateLimit};
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
