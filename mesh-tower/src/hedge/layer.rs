use std::sync::Arc;

use http::Request;
use mesh_core::hedge::Hedger;
use mesh_core::policy::HedgePolicy;
use mesh_core::retry::Budget;
use tower_layer::Layer;

use super::HedgeService;
use crate::body::MeshBody;

/// Hedges calls by a fixed policy. All services that one layer makes share latencies and budgets.
#[derive(Clone)]
pub struct HedgeLayer {
    pub(super) hedger: Arc<Hedger>,
    /// For an attempt that replaces a failed one.
    pub(super) budget: Arc<Budget>,
    pub(super) marked: Arc<Marked>,
}

/// Says whether a call is marked as idempotent.
type Marked = dyn Fn(&Request<MeshBody>) -> bool + Send + Sync;

// === impl HedgeLayer ===

impl HedgeLayer {
    /// Hedges calls whose method is idempotent.
    pub fn new(policy: &HedgePolicy) -> Self {
        Self {
            hedger: Arc::new(Hedger::new(policy)),
            budget: Arc::default(),
            marked: Arc::new(|_| false),
        }
    }

    /// Hedges these calls too, whatever their method: the callee must cope with a repetition.
    #[must_use]
    pub fn idempotent(
        mut self,
        marked: impl Fn(&Request<MeshBody>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.marked = Arc::new(marked);
        self
    }
}

impl<S> Layer<S> for HedgeLayer {
    type Service = HedgeService<S>;

    fn layer(&self, inner: S) -> HedgeService<S> {
        HedgeService::new(inner, self.clone())
    }
}

impl std::fmt::Debug for HedgeLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HedgeLayer")
            .field("hedger", &self.hedger)
            .finish_non_exhaustive()
    }
}
