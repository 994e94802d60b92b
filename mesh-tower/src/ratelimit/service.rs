use std::task::{Context, Poll};

use http::{Request, Response};
use mesh_core::{
    context::{Arrival, RequestContext},
    error::{ErrorKind, MeshError},
    ratelimit::Limited,
};
use tower_service::Service;

use super::{RateLimitFuture, RateLimitLayer};
use crate::{
    BoxError,
    body::MeshBody,
    runtime,
    stack::{Describe, into_mesh_error, is_grpc},
};

/// Service of [`RateLimitLayer`].
#[derive(Clone, Debug)]
pub struct RateLimited<S> {
    pub(super) inner: S,
    pub(super) layer: RateLimitLayer,
}

// === impl RateLimited ===

impl<S> RateLimited<S> {
    fn check<B>(&mut self, request: &Request<B>) -> Result<(), MeshError> {
        if self.layer.now().is_empty() {
            return Ok(());
        }
        let context = request.extensions().get::<RequestContext>();
        let level = context
            .map(|context| context.criticality)
            .unwrap_or_default();
        let call = Arrival {
            peer: context.and_then(|context| context.peer.as_ref()),
            domain: self.layer.home.domain().map(|domain| &**domain),
            method: request.method(),
            path: request.uri().path(),
            grpc: is_grpc(request.headers()),
            headers: request.headers(),
        };
        let checked = self.layer.limits.check(runtime::now(), &call, level);
        checked.map_err(|Limited { limit, retry_after }| {
            self.layer.limiters.count(&limit, level.as_str());
            MeshError::new(
                ErrorKind::RateLimited,
                format!("above the rate limit {limit:?}"),
            )
            .with_retry_after(retry_after)
        })
    }
}

impl<S, B> Service<Request<B>> for RateLimited<S>
where
    S: Service<Request<B>, Response = Response<MeshBody>>,
    S::Error: Into<BoxError>,
{
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = RateLimitFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        self.inner.poll_ready(cx).map_err(into_mesh_error)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.check(&request) {
            Ok(()) => RateLimitFuture::passed(self.inner.call(request)),
            Err(error) => RateLimitFuture::refused(error),
        }
    }
}

impl<S: Describe> Describe for RateLimited<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("ratelimit");
        self.inner.describe(into);
    }
}
