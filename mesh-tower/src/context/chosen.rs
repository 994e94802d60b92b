use std::sync::Arc;

use http::HeaderValue;
use mesh_core::policy::model::Route;
use mesh_core::route::session::Session;

use crate::live_view::{BackendView, Place, ServiceView};
use crate::metrics::Edge;

/// What the route layer decided; fixed for the rest of the call, retries included. It keeps all
/// that the call reads of the policy alive and unchanged.
pub(crate) struct Chosen {
    pub(crate) service: Arc<ServiceView>,
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) backend: Arc<BackendView>,
    /// Where the call is counted.
    pub(crate) edge: Arc<Edge>,
    /// Its route and target in the service's view.
    pub(crate) place: Place,
    /// The session that the caller brought.
    pub(crate) session: Option<Box<Session>>,
}

impl Chosen {
    /// What the callee is told of the routing.
    pub(crate) fn stamp(&self) -> HeaderValue {
        let stamp = self.service.stamp(self.place);
        stamp.map_or(HeaderValue::from_static("1"), HeaderValue::clone)
    }
}
