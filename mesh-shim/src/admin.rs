//! `/livez`, `/readyz` and `/metrics`: on the main thread, away from the workers, so that they
//! answer whatever the traffic does and cost it nothing.

use std::sync::Arc;

use mesh_tower::Mesh;
use mesh_tower::mesh::AdminPages;
use tokio::sync::watch;

use crate::proxy::Tunnels;

/// Whether the shim can take requests for its application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Not yet: joining, or the application does not accept.
    Starting,
    /// Yes.
    Ready,
    /// No more.
    Draining,
}

impl Readiness {
    fn why_not(self) -> Option<&'static str> {
        match self {
            Self::Starting => Some("starting"),
            Self::Ready => None,
            Self::Draining => Some("draining"),
        }
    }
}

/// `/livez` and `/readyz`; there is no mesh to measure yet.
pub(crate) fn health(readiness: watch::Receiver<Readiness>) -> AdminPages {
    AdminPages::new(move || readiness.borrow().why_not())
}

/// The same, and `/metrics`: the mesh's, then the shim's own.
pub(crate) fn metrics(health: AdminPages, mesh: Mesh, tunnels: Arc<Tunnels>) -> AdminPages {
    health.with_metrics(move || format!("{}{}", mesh.metrics_text(), tunnels.metrics()))
}
