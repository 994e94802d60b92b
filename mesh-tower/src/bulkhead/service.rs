use std::task::{Context, Poll};

use http::{Request, Response};
use mesh_core::error::MeshError;
use tower_service::Service;

use super::BulkheadLayer;
use crate::{
    BoxError,
    body::MeshBody,
    overload::{Entered, OverloadFuture, level_of},
    stack::{Describe, into_mesh_error},
};

/// Service of [`BulkheadLayer`].
#[derive(Clone, Debug)]
pub struct Bulkhead<S> {
    pub(super) inner: S,
    pub(super) layer: BulkheadLayer,
}

// === impl Bulkhead ===

impl<S, B> Service<Request<B>> for Bulkhead<S>
where
    S: Service<Request<B>, Response = Response<MeshBody>> + Clone,
    S::Error: Into<BoxError>,
    B: 'static,
{
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = OverloadFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        self.inner.poll_ready(cx).map_err(into_mesh_error)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let level = level_of(&request);
        let (request, entrance) = if self.layer.is_keyed() {
            let (head, body) = request.into_parts();
            let entrance = self.layer.find(Some(&head));
            (Request::from_parts(head, body), entrance)
        } else {
            (request, self.layer.find(None))
        };
        Entered::new(&entrance, None, level).call(&mut self.inner, request)
    }
}

impl<S: Describe> Describe for Bulkhead<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("bulkhead");
        self.inner.describe(into);
    }
}
