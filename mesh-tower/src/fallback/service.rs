use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use mesh_core::error::MeshError;
use tower_service::Service;

use super::{FallbackFuture, layer::Rule};
use crate::{
    BoxError,
    body::MeshBody,
    stack::{Describe, into_mesh_error, is_grpc},
};

/// Service of [`FallbackLayer`](super::FallbackLayer).
#[derive(Clone)]
pub struct Fallback<S> {
    pub(super) inner: S,
    pub(super) rule: Arc<Rule>,
}

// === impl Fallback ===

impl<S, B> Service<Request<B>> for Fallback<S>
where
    S: Service<Request<B>, Response = Response<MeshBody>>,
    S::Error: Into<BoxError>,
{
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = FallbackFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        self.inner.poll_ready(cx).map_err(into_mesh_error)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let grpc = is_grpc(request.headers());
        FallbackFuture::new(self.inner.call(request), self.rule.clone(), grpc)
    }
}

impl<S: Describe> Describe for Fallback<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("fallback");
        self.inner.describe(into);
    }
}

impl<S: fmt::Debug> fmt::Debug for Fallback<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
