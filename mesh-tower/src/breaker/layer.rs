use std::sync::Arc;

use mesh_core::breaker::{Breaker, Phase};
use mesh_core::policy::BreakerPolicy;
use tower_layer::Layer;

use super::BreakerService;

/// Puts a breaker in front of a service. All services that one layer makes share it.
#[derive(Clone, Debug)]
pub struct BreakerLayer {
    fixed: Option<Arc<Breaker>>,
}

// === impl BreakerLayer ===

impl BreakerLayer {
    /// A breaker of its own by `policy`.
    pub fn new(policy: &BreakerPolicy) -> Self {
        Self {
            fixed: Some(Arc::new(Breaker::new(policy))),
        }
    }

    /// The breaker of the backend that the route chose, if it has one.
    pub(crate) fn routed() -> Self {
        Self { fixed: None }
    }

    /// Where the layer's own breaker stands.
    pub fn phase(&self) -> Phase {
        self.fixed.as_ref().map_or(Phase::Closed, |b| b.phase())
    }
}

impl<S> Layer<S> for BreakerLayer {
    type Service = BreakerService<S>;

    fn layer(&self, inner: S) -> BreakerService<S> {
        BreakerService::new(inner, self.fixed.clone())
    }
}
