use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::{Operation, Peer};

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
