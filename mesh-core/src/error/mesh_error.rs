use std::error::Error as StdError;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::{Code, ErrorKind};
use crate::name::ServiceName;

/// Any error, as tower and hyper pass it.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// An answer that the mesh made: who, what, why, what was tried, and a code.
///
/// Cheap to clone. Build it with [`MeshError::new`] and the `with_*` methods.
#[derive(Clone)]
pub struct MeshError(pub(super) Arc<Inner>);

#[derive(Clone)]
pub(super) struct Inner {
    pub(super) kind: ErrorKind,
    pub(super) code: Code,
    pub(super) service: Option<Box<str>>,
    pub(super) message: String,
    pub(super) source: Option<Arc<dyn StdError + Send + Sync>>,
    pub(super) attempts: Vec<AttemptRecord>,
    pub(super) notes: Vec<(String, String)>,
    pub(super) flags: Flags,
    pub(super) retry_after: Option<Duration>,
}

/// What one attempt of a call came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRecord {
    /// From 1.
    pub number: u32,
    /// Where it went; `None` when no endpoint was chosen.
    pub endpoint: Option<SocketAddr>,
    /// `503`, `connection refused`, `not made: retry budget empty`.
    pub outcome: String,
    /// How long it took.
    pub after: Duration,
}

/// What is known of a failed attempt in this process. A server tells a peer of the mesh, by
/// [`crate::metadata::OUTCOME`], what became of that peer's request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Not one byte of the request was written: any request may be sent again.
    pub never_sent: bool,
    /// The peer said that it did not process the request (REFUSED_STREAM, above GOAWAY's last id, a
    /// refusal by the callee's mesh).
    pub refused: bool,
    /// No retry, whatever the other flags say (the peer asked for none, or the body is gone).
    pub non_retryable: bool,
    /// The connection ended under the call: whoever was there may be gone.
    pub broken: bool,
}

// === impl MeshError ===

impl MeshError {
    /// An error of `kind`. `message` says what happened in a few plain words, lower case, no stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            code: kind.code(),
            service: None,
            message: message.into(),
            source: None,
            attempts: Vec::new(),
            notes: Vec::new(),
            flags: Flags::default(),
            retry_after: None,
        }))
    }

    fn edit(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The error below, for [`std::error::Error::source`].
    #[must_use]
    pub fn with_source(self, source: impl Into<BoxError>) -> Self {
        let source = Arc::from(source.into());
        self.edit(|inner| inner.source = Some(source))
    }

    /// The service that was called. The first one given stays: the inner layers know better.
    #[must_use]
    pub fn with_service(self, service: &ServiceName) -> Self {
        if self.0.service.is_some() {
            return self;
        }
        self.with_target(service.host())
    }

    /// What was called, as text (`reviews.shop:8080`), in place of any earlier one.
    #[must_use]
    pub fn with_target(self, target: impl Into<String>) -> Self {
        let target = target.into().into_boxed_str();
        self.edit(|inner| inner.service = Some(target))
    }

    /// Adds an attempt to the story.
    #[must_use]
    pub fn with_attempt(self, attempt: AttemptRecord) -> Self {
        self.edit(|inner| inner.attempts.push(attempt))
    }

    /// Replaces the attempts of the story.
    #[must_use]
    pub fn with_attempts(self, attempts: Vec<AttemptRecord>) -> Self {
        self.edit(|inner| inner.attempts = attempts)
    }

    /// Adds a line to the story, such as `("policy", "HTTPRoute shop/reviews rule 0: ...")`.
    /// Labels used by the mesh are `policy`, `caller` and `next`.
    #[must_use]
    pub fn with_note(self, label: impl Into<String>, text: impl Into<String>) -> Self {
        let note = (label.into(), text.into());
        self.edit(|inner| inner.notes.push(note))
    }

    /// A more precise code than the kind's own, such as M4004 under [`ErrorKind::Tls`].
    #[must_use]
    pub fn with_code(self, code: Code) -> Self {
        self.edit(|inner| inner.code = code)
    }

    /// Flags of the attempt that failed.
    #[must_use]
    pub fn with_flags(self, flags: Flags) -> Self {
        self.edit(|inner| inner.flags = flags)
    }

    /// How long the caller should wait before it tries again.
    #[must_use]
    pub fn with_retry_after(self, wait: Duration) -> Self {
        self.edit(|inner| inner.retry_after = Some(wait))
    }

    /// What an operator acts on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The code of the page about this error.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What happened, without service and code.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What was called, as the first word of the line; `None` if it is not known.
    pub fn service(&self) -> Option<&str> {
        self.0.service.as_deref()
    }

    /// What was tried.
    pub fn attempts(&self) -> &[AttemptRecord] {
        &self.0.attempts
    }

    /// The labelled lines of the story.
    pub fn notes(&self) -> &[(String, String)] {
        &self.0.notes
    }

    /// What is known of the failed attempt.
    pub fn flags(&self) -> Flags {
        self.0.flags
    }

    /// How long the caller should wait before it tries again, when that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// A deadline or the limit of one attempt passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Deadline | ErrorKind::AttemptTimeout)
    }

    /// No usable connection: name, TCP, TLS or the peer's identity.
    pub fn is_connect(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Connect | ErrorKind::Dns | ErrorKind::Tls | ErrorKind::Identity
        )
    }

    /// The request provably was not processed, so even a request that is not idempotent may be sent
    /// again.
    pub fn is_retryable(&self) -> bool {
        let flags = self.0.flags;
        !flags.non_retryable && (flags.never_sent || flags.refused)
    }

    /// The HTTP status that a caller without the mesh sees.
    pub fn http_status(&self) -> StatusCode {
        self.0.kind.http_status()
    }

    /// The gRPC status that a gRPC caller sees.
    pub fn grpc_code(&self) -> u32 {
        self.0.kind.grpc_code()
    }
}

impl StdError for MeshError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    const MS: Duration = Duration::from_millis(1);

    fn story() -> MeshError {
        let attempt = |number, endpoint: &str, outcome: &str, ms: u32| AttemptRecord {
            number,
            endpoint: endpoint.parse().ok(),
            outcome: outcome.to_owned(),
            after: ms * MS,
        };
        MeshError::new(
            ErrorKind::Ejected,
            "no endpoint could serve the call in 2.0s: 2 tried (503, connection refused), 1 ejected",
        )
        .with_target("reviews.shop:8080")
        .with_attempt(attempt(1, "10.0.3.7:8080", "503", 12))
        .with_attempt(attempt(2, "10.0.3.9:8080", "connection refused", 1))
        .with_attempt(attempt(3, "", "not made: retry budget empty (20% of last 10s)", 0))
        .with_note("policy", "HTTPRoute shop/reviews rule 0: timeout 2s, 2 retries   (rev 42, reviews.yaml:24)")
        .with_note("caller", "deadline 2.0s set by web -> inherited from grpc-timeout")
    }

    #[test]
    fn the_line_says_who_what_and_the_code() {
        assert_eq!(
            story().to_string(),
            "reviews.shop:8080: no endpoint could serve the call in 2.0s: 2 tried (503, connection \
             refused), 1 ejected [M2003]"
        );
    }

    #[test]
    fn the_story_tells_attempts_policy_caller_and_what_next() {
        let expected = "\
reviews.shop:8080: no endpoint could serve the call in 2.0s: 2 tried (503, connection refused), 1 ejected [M2003]

   attempt 1  10.0.3.7:8080   503 after 12ms
   attempt 2  10.0.3.9:8080   connection refused after 1ms
   attempt 3  not made: retry budget empty (20% of last 10s)
   policy     HTTPRoute shop/reviews rule 0: timeout 2s, 2 retries   (rev 42, reviews.yaml:24)
   caller     deadline 2.0s set by web -> inherited from grpc-timeout
   next       meshctl explain M2003   |   meshctl endpoints reviews.shop";
        assert_eq!(format!("{:#}", story()), expected);
    }

    #[test]
    fn the_source_is_kept_and_told() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = MeshError::new(ErrorKind::Connect, "no connection").with_source(refused);
        let source = error.source().unwrap().downcast_ref::<io::Error>();
        assert_eq!(source.unwrap().kind(), io::ErrorKind::ConnectionRefused);
        assert!(format!("{error:#}").contains("because    connection refused"));
    }

    #[test]
    fn only_what_provably_was_not_processed_is_retryable() {
        let with = |flags| MeshError::new(ErrorKind::Connect, "x").with_flags(flags);
        let sent = Flags::default();
        let never_sent = Flags {
            never_sent: true,
            ..sent
        };
        assert!(!with(sent).is_retryable());
        assert!(with(never_sent).is_retryable());
        assert!(
            with(Flags {
                refused: true,
                ..sent
            })
            .is_retryable()
        );
        assert!(
            !with(Flags {
                non_retryable: true,
                ..never_sent
            })
            .is_retryable()
        );
    }

    #[test]
    fn predicates_follow_the_kind_and_a_code_can_be_more_precise() {
        let late = MeshError::new(ErrorKind::AttemptTimeout, "x");
        assert!(late.is_timeout() && !late.is_connect());
        let expired = MeshError::new(ErrorKind::Tls, "expired").with_code(Code::CERTIFICATE_TIME);
        assert!(expired.is_connect());
        assert_eq!(expired.to_string(), "expired [M4004]");
        assert_eq!(expired.http_status(), 503);
    }

    #[test]
    fn the_first_service_named_stays() {
        let name = |text: &str| text.parse::<ServiceName>().unwrap();
        let error = MeshError::new(ErrorKind::Connect, "x")
            .with_service(&name("shop/reviews"))
            .with_service(&name("shop/other"));
        assert_eq!(error.service(), Some("reviews.shop"));
    }

    #[test]
    fn changing_a_clone_leaves_the_first_alone() {
        let error = MeshError::new(ErrorKind::Connect, "x");
        let changed = error.clone().with_note("policy", "y");
        assert!(error.notes().is_empty());
        assert_eq!(changed.notes().len(), 1);
    }
}
