use std::sync::Arc;
use std::time::Duration;

use super::tunables::tunables;
use crate::policy::defaults;

/// What is asked of an endpoint to learn whether it is well.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthProbe {
    /// `GET` of a path.
    Http {
        /// The path, with `/`.
        path: Arc<str>,
        /// Status codes that are well, as ranges with both ends.
        statuses: Arc<[(u16, u16)]>,
    },
    /// `grpc.health.v1.Health/Watch` (A17), `Check` where that is not implemented.
    Grpc {
        /// Name of the service that is asked for; empty is the whole server.
        service: Arc<str>,
    },
    /// A connection.
    Tcp,
}

tunables! {
    /// How often an endpoint is asked, and what follows.
    pub struct HealthTiming {
        /// Pause between two probes of an endpoint, at least 100 ms.
        interval / with_interval: Duration = defaults::HEALTH_INTERVAL;
        /// Longest wait for an answer.
        timeout / with_timeout: Duration = defaults::HEALTH_TIMEOUT;
        /// Probes in a row that fail until the endpoint is out.
        unhealthy_after / with_unhealthy_after: u32 = defaults::HEALTH_UNHEALTHY_AFTER;
        /// Probes in a row that succeed until it is back.
        healthy_after / with_healthy_after: u32 = defaults::HEALTH_HEALTHY_AFTER;
        /// Each pause is longer or shorter by up to this percentage.
        jitter_percent / with_jitter_percent: u32 = defaults::HEALTH_JITTER_PERCENT;
        /// Port that is asked; `None` is the endpoint's own.
        port / with_port: Option<u16> = None;
        /// Probes of one backend at a time.
        max_concurrent / with_max_concurrent: u32 = defaults::HEALTH_CONCURRENT;
    }
}

/// Active health checks of the endpoints of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthPolicy {
    pub(crate) probe: HealthProbe,
    pub(crate) timing: HealthTiming,
}

// === impl HealthPolicy ===

impl HealthPolicy {
    /// Checks by `probe`, with the defaults of the table.
    pub fn new(probe: HealthProbe) -> Self {
        Self {
            probe,
            timing: HealthTiming::default(),
        }
    }

    /// The same with other times and counts.
    #[must_use]
    pub fn with_timing(mut self, timing: HealthTiming) -> Self {
        self.timing = timing;
        self
    }

    /// What is asked.
    pub fn probe(&self) -> &HealthProbe {
        &self.probe
    }

    /// How often, and what follows.
    pub fn timing(&self) -> &HealthTiming {
        &self.timing
    }

    /// Pause between two probes of an endpoint.
    pub fn interval(&self) -> Duration {
        self.timing.interval()
    }

    /// Longest wait for an answer.
    pub fn timeout(&self) -> Duration {
        self.timing.timeout()
    }

    /// Probes in a row that fail until the endpoint is out.
    pub fn unhealthy_after(&self) -> u32 {
        self.timing.unhealthy_after()
    }

    /// Probes in a row that succeed until it is back.
    pub fn healthy_after(&self) -> u32 {
        self.timing.healthy_after()
    }

    /// Each pause is longer or shorter by up to this percentage.
    pub fn jitter_percent(&self) -> u32 {
        self.timing.jitter_percent()
    }

    /// Port that is asked; `None` is the endpoint's own.
    pub fn port(&self) -> Option<u16> {
        self.timing.port()
    }

    /// Probes of one backend at a time.
    pub fn max_concurrent(&self) -> u32 {
        self.timing.max_concurrent()
    }
}
