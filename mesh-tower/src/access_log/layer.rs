use tower_layer::Layer;

use super::AccessLog;

/// Logs each request through `tracing`.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccessLogLayer(());

// === impl AccessLogLayer ===

impl AccessLogLayer {
    /// The layer has no settings: the subscriber's filter switches it.
    pub const fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for AccessLogLayer {
    type Service = AccessLog<S>;

    fn layer(&self, inner: S) -> AccessLog<S> {
        AccessLog { inner }
    }
}
