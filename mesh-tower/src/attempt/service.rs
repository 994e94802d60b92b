use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use mesh_core::classify::Class;
use mesh_core::error::MeshError;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::headers;
use crate::BoxError;
use crate::context::CallContext;
use crate::hedge::Latency;
use crate::metrics::Ended;
use crate::stack::{Describe, into_mesh_error};
use crate::telemetry::{Side, Span, Tracing};
use crate::throttle::Counted;
use crate::trace::finish;

/// Gives each attempt its span and its headers, and counts it.
#[derive(Clone, Debug, Default)]
pub struct AttemptLayer {
    tracing: Tracing,
}

/// The service of [`AttemptLayer`].
#[derive(Clone, Debug)]
pub struct AttemptService<S> {
    inner: S,
    tracing: Tracing,
}

pin_project! {
    /// The future of [`AttemptService`].
    pub struct AttemptFuture<F> {
        #[pin]
        inner: F,
        call: CallContext,
        span: Span,
        // In a box: most backends have neither throttle nor hedging.
        observed: Option<Box<Observed>>,
    }
}

/// What is to be told of an attempt beside the counters.
struct Observed {
    counted: Option<Counted>,
    _latency: Option<Latency>,
}

// === impl AttemptLayer ===

impl AttemptLayer {
    /// Writes the headers, and exports nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Exports a span per attempt.
    pub fn with_tracing(tracing: Tracing) -> Self {
        Self { tracing }
    }
}

impl<S> Layer<S> for AttemptLayer {
    type Service = AttemptService<S>;

    fn layer(&self, inner: S) -> AttemptService<S> {
        AttemptService {
            inner,
            tracing: self.tracing.clone(),
        }
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
    B: 'static,
    S::Error: Into<BoxError>,
{
    type Response = Response<R>;
    type Error = MeshError;
    type Future = AttemptFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        self.inner.poll_ready(cx).map_err(into_mesh_error)
    }

    #[inline(always)]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let call = CallContext::of(&mut request);
        let trace = headers::inject(request.headers_mut(), &call);
        let parent = Some(call.trace().span_id());
        let mut span = self
            .tracing
            .start(Side::Attempt, &trace, parent, || "attempt".into());
        span.set("mesh.attempt", || call.attempt().to_string().into());
        let observed = observe(&call);
        AttemptFuture {
            inner: self.inner.call(request),
            call,
            span,
            observed,
        }
    }
}

fn observe(call: &CallContext) -> Option<Box<Observed>> {
    let backend = &call.chosen()?.backend;
    let (throttle, hedger) = (backend.throttle(), backend.hedger());
    if throttle.is_none() && hedger.is_none() {
        return None;
    }
    let now = call.now();
    Some(Box::new(Observed {
        counted: throttle.map(|throttle| Counted::new(throttle, call.criticality(), now)),
        _latency: hedger.map(|hedger| Latency::begin(hedger, now)),
    }))
}

// === impl AttemptFuture ===

impl<F, R, E> Future for AttemptFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<R>, MeshError>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx)).map_err(into_mesh_error);
        finish(this.span, result.as_ref().ok().map(Response::status));
        let observed = this.observed.take();
        if this.call.edge().is_some() || observed.is_some() {
            // A gRPC answer that is still open counts as good here; its end is on the call.
            let class = match &result {
                Ok(response) => Ended::head(this.call.is_grpc(), response)
                    .map_or(Class::Success, |ended| ended.class),
                Err(error) => Ended::error(error).class,
            };
            if let Some(edge) = this.call.edge() {
                edge.attempt(class);
            }
            if let Some(counted) = observed.and_then(|mut observed| observed.counted.take()) {
                counted.ended(class, this.call.now());
            }
        }
        Poll::Ready(result)
    }
}

impl<F> std::fmt::Debug for AttemptFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AttemptFuture").finish_non_exhaustive()
    }
}
