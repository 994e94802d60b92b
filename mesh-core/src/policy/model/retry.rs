use std::sync::Arc;
use std::time::Duration;

use http::Method;

use crate::policy::defaults;
pub use crate::policy::spec::NonIdempotent;

/// Time limits of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteTimeouts {
    pub(crate) request: Option<Duration>,
    pub(crate) attempt: Option<Duration>,
}

/// What a route tries again, beyond what provably was not processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    pub(crate) attempts: u32,
    pub(crate) codes: Arc<[u16]>,
    pub(crate) backoff: Duration,
    pub(crate) max_backoff: Duration,
    pub(crate) non_idempotent: NonIdempotent,
}

// === impl RouteTimeouts ===

impl Default for RouteTimeouts {
    fn default() -> Self {
        Self {
            request: Some(defaults::REQUEST_TIMEOUT),
            attempt: None,
        }
    }
}

impl RouteTimeouts {
    /// The whole call up to the response's headers, with all attempts; `None` is no limit.
    pub fn request(&self) -> Option<Duration> {
        self.request
    }

    /// One attempt.
    pub fn attempt(&self) -> Option<Duration> {
        self.attempt
    }

    /// The same with another limit for the whole call.
    #[must_use]
    pub fn with_request(mut self, request: Option<Duration>) -> Self {
        self.request = request;
        self
    }

    /// The same with another limit for one attempt.
    #[must_use]
    pub fn with_attempt(mut self, attempt: Option<Duration>) -> Self {
        self.attempt = attempt;
        self
    }
}

// === impl RetryPolicy ===

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: defaults::RETRY_ATTEMPTS,
            codes: Arc::default(),
            backoff: defaults::BACKOFF_BASE,
            max_backoff: defaults::BACKOFF_MAX,
            non_idempotent: NonIdempotent::Never,
        }
    }
}

impl RetryPolicy {
    /// Attempts after the first one.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// HTTP status codes that are tried again, ascending.
    pub fn codes(&self) -> &[u16] {
        &self.codes
    }

    /// Base of the jittered pause before another attempt.
    pub fn backoff(&self) -> Duration {
        self.backoff
    }

    /// Longest pause before another attempt.
    pub fn max_backoff(&self) -> Duration {
        self.max_backoff
    }

    /// What holds for methods that are not idempotent.
    pub fn non_idempotent(&self) -> NonIdempotent {
        self.non_idempotent
    }

    /// Whether an answer with `status` is tried again.
    pub fn retries_status(&self, status: u16) -> bool {
        self.codes.binary_search(&status).is_ok()
    }

    /// Whether calls with `method` may be tried again although they may have been processed.
    pub fn retries_method(&self, method: &Method) -> bool {
        self.non_idempotent == NonIdempotent::Allow || method.is_idempotent()
    }

    /// The same with another number of attempts after the first one.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// The same with other status codes.
    #[must_use]
    pub fn with_codes(mut self, codes: &[u16]) -> Self {
        let mut codes = codes.to_vec();
        codes.sort_unstable();
        codes.dedup();
        self.codes = codes.into();
        self
    }

    /// The same with another base of the pause; the longest pause is ten times that.
    #[must_use]
    pub fn with_backoff(mut self, backoff: Duration) -> Self {
        self.backoff = backoff;
        self.max_backoff = backoff.saturating_mul(10);
        self
    }

    /// The same with another rule for methods that are not idempotent.
    #[must_use]
    pub fn with_non_idempotent(mut self, rule: NonIdempotent) -> Self {
        self.non_idempotent = rule;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_is_not_idempotent_is_retried_only_by_name() {
        let retry = RetryPolicy::default().with_codes(&[503, 502, 503]);
        assert_eq!(retry.codes(), [502, 503]);
        assert!(retry.retries_status(503) && !retry.retries_status(500));
        assert!(retry.retries_method(&Method::PUT) && !retry.retries_method(&Method::POST));
        let allow = retry.with_non_idempotent(NonIdempotent::Allow);
        assert!(allow.retries_method(&Method::POST));
    }
}
