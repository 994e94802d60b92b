use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue, StatusCode};

use crate::policy::defaults;

/// Thousandths of a percent in the whole: 100 %.
pub const WHOLE_PERCENT_MILLI: u32 = 100_000;

/// Faults that are made on purpose, to see how a caller copes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub(crate) name: Arc<str>,
    pub(crate) delay: Option<FaultDelay>,
    pub(crate) abort: Option<FaultAbort>,
    pub(crate) header: Option<(HeaderName, Option<HeaderValue>)>,
    pub(crate) seed: Option<u64>,
    pub(crate) max_active: u32,
    pub(crate) expires: Option<SystemTime>,
}

/// Some calls are sent later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultDelay {
    pub(crate) duration: Duration,
    pub(crate) percent_milli: u32,
}

/// Some calls are answered with an error, and not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultAbort {
    pub(crate) status: AbortStatus,
    pub(crate) percent_milli: u32,
}

/// The error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortStatus {
    /// An HTTP status.
    Http(StatusCode),
    /// A gRPC code, 1 to 16, in an answer with status 200.
    Grpc(u16),
}

// === impl Fault ===

impl Fault {
    /// A fault that does nothing yet.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            delay: None,
            abort: None,
            header: None,
            seed: None,
            max_active: defaults::FAULT_MAX_ACTIVE,
            expires: None,
        }
    }

    /// Its name, `namespace/name`: a label of metrics.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The delay.
    pub fn delay(&self) -> Option<FaultDelay> {
        self.delay
    }

    /// The error.
    pub fn abort(&self) -> Option<FaultAbort> {
        self.abort
    }

    /// Only calls with this header, and this value if there is one.
    pub fn header(&self) -> Option<&(HeaderName, Option<HeaderValue>)> {
        self.header.as_ref()
    }

    /// With a seed the same calls in the same order have the same faults.
    pub fn seed(&self) -> Option<u64> {
        self.seed
    }

    /// Calls of a process that may be delayed at a time; others pass without.
    pub fn max_active(&self) -> u32 {
        self.max_active
    }

    /// From this moment on it does nothing.
    pub fn expires(&self) -> Option<SystemTime> {
        self.expires
    }

    /// Whether it is over at `now`.
    pub fn is_over(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|end| now >= end)
    }

    /// The same with a delay of `percent_milli` thousandths of a percent of the calls.
    #[must_use]
    pub fn with_delay(mut self, duration: Duration, percent_milli: u32) -> Self {
        self.delay = Some(FaultDelay {
            duration,
            percent_milli,
        });
        self
    }

    /// The same with an error for `percent_milli` thousandths of a percent of the calls.
    #[must_use]
    pub fn with_abort(mut self, status: AbortStatus, percent_milli: u32) -> Self {
        self.abort = Some(FaultAbort {
            status,
            percent_milli,
        });
        self
    }

    /// The same for calls with a header only.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: Option<HeaderValue>) -> Self {
        self.header = Some((name, value));
        self
    }

    /// The same with a seed.
    #[must_use]
    pub fn with_seed(mut self, seed: Option<u64>) -> Self {
        self.seed = seed;
        self
    }

    /// The same with another number of calls at a time.
    #[must_use]
    pub fn with_max_active(mut self, max: u32) -> Self {
        self.max_active = max;
        self
    }

    /// The same with an end.
    #[must_use]
    pub fn with_expires(mut self, expires: Option<SystemTime>) -> Self {
        self.expires = expires;
        self
    }
}

// === impl FaultDelay ===

impl FaultDelay {
    /// How long.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// How many calls, in thousandths of a percent: 100,000 is all of them.
    pub fn percent_milli(&self) -> u32 {
        self.percent_milli
    }
}

// === impl FaultAbort ===

impl FaultAbort {
    /// The error.
    pub fn status(&self) -> AbortStatus {
        self.status
    }

    /// How many calls, in thousandths of a percent: 100,000 is all of them.
    pub fn percent_milli(&self) -> u32 {
        self.percent_milli
    }
}
