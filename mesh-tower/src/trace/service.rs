use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::TraceFuture;
use crate::context::CallContext;
use crate::stack::Describe;

/// Gives each call its trace context and its span.
#[derive(Clone, Copy, Debug, Default)]
pub struct TraceLayer(());

/// The service of [`TraceLayer`].
#[derive(Clone, Debug)]
pub struct TraceService<S> {
    inner: S,
}

// === impl TraceLayer ===

impl TraceLayer {
    /// The layer; it has no settings.
    pub fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = TraceService<S>;

    fn layer(&self, inner: S) -> TraceService<S> {
        TraceService { inner }
    }
}

// === impl TraceService ===

impl<S: Describe> Describe for TraceService<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("trace");
        self.inner.describe(into);
    }
}

impl<S, B> Service<Request<B>> for TraceService<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = TraceFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let context = CallContext::of(&mut request);
        let span = tracing::info_span!(
            "call",
            otel.kind = "client",
            http.request.method = %request.method(),
            server.address = request.uri().host().unwrap_or_default(),
            trace_id = tracing::field::Empty,
        );
        if !span.is_disabled() {
            span.record("trace_id", tracing::field::display(context.trace().traceparent().trace_id()));
        }
        TraceFuture::new(self.inner.call(request), span)
    }
}
