use std::sync::Arc;

use http::{HeaderValue, StatusCode};

/// An answer that is given instead of sending the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectResponse {
    pub(crate) status: StatusCode,
    pub(crate) body: Arc<str>,
    pub(crate) content_type: Option<HeaderValue>,
}

// === impl DirectResponse ===

impl DirectResponse {
    /// An answer without a body.
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            body: Arc::from(""),
            content_type: None,
        }
    }

    /// The same with a body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Arc<str>>, kind: Option<HeaderValue>) -> Self {
        self.body = body.into();
        self.content_type = kind;
        self
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its body, at most 64 KiB.
    pub fn body(&self) -> &Arc<str> {
        &self.body
    }

    /// `content-type` of the body.
    pub fn content_type(&self) -> Option<&HeaderValue> {
        self.content_type.as_ref()
    }
}
