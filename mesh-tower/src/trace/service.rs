use std::task::{Context, Poll};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::TraceFuture;
use crate::context::CallContext;
use crate::stack::Describe;
use crate::telemetry::{Side, Tracing};

/// Gives each call its trace context and its span.
#[derive(Clone, Debug, Default)]
pub struct TraceLayer {
    tracing: Tracing,
}

/// The service of [`TraceLayer`].
#[derive(Clone, Debug)]
pub struct TraceService<S> {
    inner: S,
    tracing: Tracing,
}

// === impl TraceLayer ===

impl TraceLayer {
    /// Propagates trace context, and exports nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Exports a span per call. Whether a trace that begins here is recorded, `OTEL_TRACES_SAMPLER`
    /// says.
    pub fn with_tracing(tracing: Tracing) -> Self {
        Self { tracing }
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = TraceService<S>;

    fn layer(&self, inner: S) -> TraceService<S> {
        TraceService {
            inner,
            tracing: self.tracing.clone(),
        }
    }
}

// === impl TraceService ===

impl<S: Describe> Describe for TraceService<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("trace");
        self.inner.describe(into);
    }
}

impl<S, B, R> Service<Request<B>> for TraceService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    B: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = TraceFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline(always)]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let call = CallContext::of_sampled(&mut request, self.tracing.samples_root());
        let mut span = self
            .tracing
            .start(Side::Call, call.trace(), call.parent_span(), || {
                request.method().as_str().to_owned().into()
            });
        span.set("http.request.method", || {
            request.method().as_str().to_owned().into()
        });
        span.set("url.path", || request.uri().path().to_owned().into());
        TraceFuture::new(self.inner.call(request), span)
    }
}
