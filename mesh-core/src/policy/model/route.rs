use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::{BackendIx, Hostname, PathMatch, RouteMatch, Split};
use crate::policy::defaults;
pub use crate::policy::spec::NonIdempotent;
use crate::policy::spec::ResourceId;

/// Which line of policy a route comes from. Displayed as
/// `HTTPRoute shop/reviews rule 0 (reviews.yaml:24)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub(crate) resource: Option<ResourceId>,
    pub(crate) rule: usize,
    pub(crate) file: Option<Arc<str>>,
    pub(crate) line: u32,
}

/// One rule of a route: what it matches, and what happens then.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub(crate) name: Arc<str>,
    pub(crate) origin: Origin,
    pub(crate) hostnames: Vec<Hostname>,
    pub(crate) matches: Vec<RouteMatch>,
    pub(crate) filters: Arc<[Filter]>,
    pub(crate) split: Split,
    pub(crate) timeouts: RouteTimeouts,
    pub(crate) retry: Option<RetryPolicy>,
}

/// A change on the way of a call.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Filter {
    /// Edits headers of the request.
    RequestHeaders(HeaderEdit),
    /// Edits headers of the response.
    ResponseHeaders(HeaderEdit),
    /// Answers with a redirect.
    Redirect(Redirect),
    /// Changes host or path of the request.
    Rewrite(Rewrite),
    /// Sends a copy of `per_million` of a million calls to a backend.
    Mirror {
        /// Where the copies go.
        backend: BackendIx,
        /// How many of a million calls.
        per_million: u32,
    },
}

/// Edits of headers, applied in the order set, add, remove.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HeaderEdit {
    pub(crate) set: Vec<(HeaderName, HeaderValue)>,
    pub(crate) add: Vec<(HeaderName, HeaderValue)>,
    pub(crate) remove: Vec<HeaderName>,
}

/// Where a redirect points. What is `None` stays as in the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    pub(crate) scheme: Option<Arc<str>>,
    pub(crate) host: Option<Arc<str>>,
    pub(crate) path: Option<PathEdit>,
    pub(crate) port: Option<u16>,
    pub(crate) status: StatusCode,
}

/// Host and path of the request that is sent. What is `None` stays.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Rewrite {
    pub(crate) host: Option<Arc<str>>,
    pub(crate) path: Option<PathEdit>,
}

/// A change of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathEdit {
    /// All of it.
    Full(Arc<str>),
    /// The prefix that the rule matched.
    Prefix(Arc<str>),
}

/// Time limits of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteTimeouts {
    pub(crate) request: Option<Duration>,
    pub(crate) attempt: Option<Duration>,
    pub(crate) idle: Option<Duration>,
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

// === impl Origin ===

impl Origin {
    /// A route that no resource describes: the default one of a service.
    pub fn built_in() -> Self {
        Self {
            resource: None,
            rule: 0,
            file: None,
            line: 0,
        }
    }

    /// The resource.
    pub fn resource(&self) -> Option<&ResourceId> {
        self.resource.as_ref()
    }

    /// Position of the rule within it.
    pub fn rule(&self) -> usize {
        self.rule
    }

    /// The file, if it is known.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// Line of the rule in the file, from 1.
    pub fn line(&self) -> u32 {
        self.line
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.resource {
            None => f.write_str("built-in default")?,
            Some(resource) => write!(f, "{resource} rule {}", self.rule)?,
        }
        match &self.file {
            Some(file) => write!(f, " ({file}:{})", self.line),
            None => Ok(()),
        }
    }
}

// === impl Route ===

impl Route {
    /// A route that sends everything to `split`, with the defaults of the table.
    pub fn new(name: impl Into<Arc<str>>, split: Split) -> Self {
        Self {
            name: name.into(),
            origin: Origin::built_in(),
            hostnames: Vec::new(),
            matches: vec![RouteMatch::any()],
            filters: Arc::default(),
            split,
            timeouts: RouteTimeouts::default(),
            retry: None,
        }
    }

    /// The same with other matches; any of them will do.
    #[must_use]
    pub fn with_matches(mut self, matches: Vec<RouteMatch>) -> Self {
        self.matches = matches;
        self
    }

    /// The same, limited to `hostnames`.
    #[must_use]
    pub fn with_hostnames(mut self, hostnames: Vec<Hostname>) -> Self {
        self.hostnames = hostnames;
        self
    }

    /// The same with other time limits.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: RouteTimeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// The same with a retry policy.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Its label in metrics: the name of the rule, or `resource/number`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Which line of policy it comes from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Hosts that it is limited to; empty means any.
    pub fn hostnames(&self) -> &[Hostname] {
        &self.hostnames
    }

    /// What it matches: any of these.
    pub fn matches(&self) -> &[RouteMatch] {
        &self.matches
    }

    /// Changes on the way, in this order.
    pub fn filters(&self) -> &[Filter] {
        &self.filters
    }

    /// The weighted targets.
    pub fn split(&self) -> &Split {
        &self.split
    }

    /// Time limits.
    pub fn timeouts(&self) -> &RouteTimeouts {
        &self.timeouts
    }

    /// What is tried again beyond what provably was not processed.
    pub fn retry(&self) -> Option<&RetryPolicy> {
        self.retry.as_ref()
    }

    /// The redirect that answers instead of a backend.
    pub fn redirect(&self) -> Option<&Redirect> {
        self.filters.iter().find_map(|f| match f {
            Filter::Redirect(redirect) => Some(redirect),
            _ => None,
        })
    }

    /// The change of host and path.
    pub fn rewrite(&self) -> Option<&Rewrite> {
        self.filters.iter().find_map(|f| match f {
            Filter::Rewrite(rewrite) => Some(rewrite),
            _ => None,
        })
    }

    /// The longest prefix of this route that matches `path`, for [`PathEdit::Prefix`].
    pub fn matched_prefix(&self, path: &str) -> Option<&str> {
        self.matches
            .iter()
            .filter_map(|m| match m.path() {
                Some(prefix @ PathMatch::Prefix(text)) if prefix.is_match(path) => Some(&**text),
                None => Some(""),
                _ => None,
            })
            .max_by_key(|text| text.len())
    }
}

// === impl HeaderEdit ===

impl HeaderEdit {
    /// Edits `headers`: set, add, remove.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name.clone(), value.clone());
        }
        for name in &self.remove {
            headers.remove(name);
        }
    }

    /// Headers that are replaced, or added when absent.
    pub fn set(&self) -> &[(HeaderName, HeaderValue)] {
        &self.set
    }

    /// Headers that are added beside what is there.
    pub fn add(&self) -> &[(HeaderName, HeaderValue)] {
        &self.add
    }

    /// Headers that are removed.
    pub fn remove(&self) -> &[HeaderName] {
        &self.remove
    }
}

// === impl Redirect ===

impl Redirect {
    /// Scheme.
    pub fn scheme(&self) -> Option<&str> {
        self.scheme.as_deref()
    }

    /// Host.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// Path.
    pub fn path(&self) -> Option<&PathEdit> {
        self.path.as_ref()
    }

    /// Port.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

// === impl Rewrite ===

impl Rewrite {
    /// Host.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// Path.
    pub fn path(&self) -> Option<&PathEdit> {
        self.path.as_ref()
    }
}

// === impl PathEdit ===

impl PathEdit {
    /// The new path for `path`, of which `matched` was the matched prefix
    /// ([`Route::matched_prefix`]). Always starts with `/`.
    pub fn apply(&self, path: &str, matched: Option<&str>) -> String {
        let new = match self {
            Self::Full(new) => new.to_string(),
            Self::Prefix(new) => {
                let rest = path.strip_prefix(matched.unwrap_or("")).unwrap_or(path);
                let new = new.trim_end_matches('/');
                match rest.strip_prefix('/') {
                    Some(rest) => format!("{new}/{rest}"),
                    None => format!("{new}{rest}"),
                }
            }
        };
        if new.starts_with('/') {
            new
        } else {
            format!("/{new}")
        }
    }
}

// === impl RouteTimeouts ===

impl Default for RouteTimeouts {
    fn default() -> Self {
        Self {
            request: Some(defaults::REQUEST_TIMEOUT),
            attempt: None,
            idle: Some(defaults::STREAM_IDLE),
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

    /// Silence in the middle of a body.
    pub fn idle(&self) -> Option<Duration> {
        self.idle
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

    /// The same with another limit for silence.
    #[must_use]
    pub fn with_idle(mut self, idle: Option<Duration>) -> Self {
        self.idle = idle;
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
    fn a_prefix_is_replaced_as_gateway_api_has_it() {
        // The table of the HTTPPathModifier's documentation.
        for (path, matched, new, expected) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/bar", "/foo", "/", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/a", "", "/x", "/x/a"),
        ] {
            let edit = PathEdit::Prefix(new.into());
            assert_eq!(edit.apply(path, Some(matched)), expected, "{path} {new}");
        }
        assert_eq!(PathEdit::Full("/z".into()).apply("/foo", None), "/z");
    }

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
