use std::sync::Arc;
use std::time::Duration;

pub use crate::policy::spec::{SessionLifetime, SessionType};

/// The calls of one session go to one endpoint (Gateway API's `sessionPersistence`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionPolicy {
    pub(crate) name: Arc<str>,
    pub(crate) kind: SessionType,
    pub(crate) absolute_timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) lifetime: SessionLifetime,
}

// === impl SessionPolicy ===

impl SessionPolicy {
    /// A session by a cookie of that name, or a header, without an end.
    pub fn new(name: impl Into<Arc<str>>, kind: SessionType) -> Self {
        Self {
            name: name.into(),
            kind,
            absolute_timeout: None,
            idle_timeout: None,
            lifetime: SessionLifetime::Session,
        }
    }

    /// Name of the cookie or header.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What carries the session.
    pub fn kind(&self) -> SessionType {
        self.kind
    }

    /// Longest life of a session.
    pub fn absolute_timeout(&self) -> Option<Duration> {
        self.absolute_timeout
    }

    /// Longest pause within a session.
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.idle_timeout
    }

    /// Whether the cookie outlives the caller's session; it then carries `Max-Age`, the
    /// [`absolute_timeout`](Self::absolute_timeout).
    pub fn lifetime(&self) -> SessionLifetime {
        self.lifetime
    }

    /// The same with a longest life.
    #[must_use]
    pub fn with_absolute_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.absolute_timeout = timeout;
        self
    }

    /// The same with a longest pause.
    #[must_use]
    pub fn with_idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// The same with another life of the cookie.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: SessionLifetime) -> Self {
        self.lifetime = lifetime;
        self
    }
}
