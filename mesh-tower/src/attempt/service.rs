use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use mesh_core::classify::Class;
use mesh_core::error::MeshError;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use tracing::Span;

use super::headers;
use crate::BoxError;
use crate::context::CallContext;
use crate::metrics::Ended;
use crate::runtime;
use crate::stack::{Describe, into_mesh_error};

/// Gives each attempt its span and its headers, and counts it.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttemptLayer(());

/// The service of [`AttemptLayer`].
#[derive(Clone, Debug)]
pub struct AttemptService<S> {
    inner: S,
}

pin_project! {
    /// The future of [`AttemptService`].
    #[derive(Debug)]
    pub struct AttemptFuture<F> {
        #[pin]
        inner: F,
        call: CallContext,
        span: Span,
    }
}

// === impl AttemptLayer ===

impl AttemptLayer {
    /// The layer; it has no settings.
    pub fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for AttemptLayer {
    type Service = AttemptService<S>;

    fn layer(&self, inner: S) -> AttemptService<S> {
        AttemptService { inner }
    }
}

// === impl AttemptService ===

impl<S: Describe> Describe for AttemptService<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("attempt");
        self.inner.describe(into);
    }
}

impl<S, B, R> Service<Request<B>> for AttemptService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
{
    type Response = Response<R>;
    type Error = MeshError;
    type Future = AttemptFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        self.inner.poll_ready(cx).map_err(into_mesh_error)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let call = CallContext::of(&mut request);
        headers::inject(request.headers_mut(), &call, runtime::now());
        let span = tracing::debug_span!("attempt", number = call.attempt());
        AttemptFuture { inner: self.inner.call(request), call, span }
    }
}

// === impl AttemptFuture ===

impl<F, R, E> Future for AttemptFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<R>, MeshError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _entered = this.span.enter();
        let result = ready!(this.inner.poll(cx)).map_err(into_mesh_error);
        if let Some(edge) = this.call.edge() {
            // A gRPC answer that is still open counts as good here; its end is on the call.
            let class = match &result {
                Ok(response) => Ended::head(this.call.is_grpc(), response)
                    .map_or(Class::Success, |ended| ended.class),
                Err(error) => Ended::error(error).class,
            };
            edge.attempt(class);
        }
        Poll::Ready(result)
    }
}
