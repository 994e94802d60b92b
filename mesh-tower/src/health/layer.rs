use std::sync::Arc;

use tower_layer::Layer;

use super::Health;

/// Where a liveness probe asks.
pub(super) const HEALTH: &str = "/.mesh/health";
/// Where a readiness probe asks.
pub(super) const READY: &str = "/.mesh/ready";

/// Says why the process is not ready; `None` when it is.
pub(super) type Probe = Arc<dyn Fn() -> Option<&'static str> + Send + Sync>;

/// Answers probes.
#[derive(Clone)]
pub struct HealthLayer {
    probe: Probe,
}

// === impl HealthLayer ===

impl HealthLayer {
    /// `unready` says why the process does not want traffic, `None` when it does.
    pub fn new(unready: impl Fn() -> Option<&'static str> + Send + Sync + 'static) -> Self {
        Self {
            probe: Arc::new(unready),
        }
    }
}

impl<S> Layer<S> for HealthLayer {
    type Service = Health<S>;

    fn layer(&self, inner: S) -> Health<S> {
        Health {
            inner,
            probe: self.probe.clone(),
        }
    }
}

impl std::fmt::Debug for HealthLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HealthLayer").finish_non_exhaustive()
    }
}
