//! Reads the request's context once: trace, deadline, criticality, attempt, peer.
//!
//! Everything below finds it as the extension [`RequestContext`]. Where spans are exported, the
//! request gets a span of its own, child of the caller's; where they are not, the caller's ids
//! pass through unchanged, so that a trace has no hole.

use std::{
    any::Any,
    borrow::Cow,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::Body as _;
use mesh_core::{
    context::{RequestContext, TraceContext},
    error::MeshError,
};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    body::MeshBody,
    runtime,
    stack::Describe,
    telemetry::{
        Tracing,
        spans::{Side, Span},
    },
    transport::ConnInfo,
};

/// Sets the [`RequestContext`] of each request.
#[derive(Clone, Debug, Default)]
pub struct InboundTraceLayer {
    tracing: Tracing,
}

/// Service of [`InboundTraceLayer`].
#[derive(Clone, Debug)]
pub struct InboundTrace<S> {
    inner: S,
    tracing: Tracing,
}

pin_project! {
    /// Future of [`InboundTrace`].
    pub struct InboundTraceFuture<F> {
        #[pin]
        inner: F,
        span: Span,
    }
}

// === impl InboundTraceLayer ===

impl InboundTraceLayer {
    /// Extracts context and opens spans for `tracing`.
    pub fn new(tracing: Tracing) -> Self {
        Self { tracing }
    }
}

impl<S> Layer<S> for InboundTraceLayer {
    type Service = InboundTrace<S>;

    fn layer(&self, inner: S) -> InboundTrace<S> {
        InboundTrace {
            inner,
            tracing: self.tracing.clone(),
        }
    }
}

// === impl InboundTrace ===

impl<S, B> Service<Request<B>> for InboundTrace<S>
where
    S: Service<Request<B>, Response = Response<MeshBody>>,
    B: 'static,
{
    type Response = Response<MeshBody>;
    type Error = S::Error;
    type Future = InboundTraceFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let peer = request
            .extensions()
            .get::<ConnInfo>()
            .and_then(|info| info.peer.clone());
        let mut context = crate::server::with_rng(|rng| {
            RequestContext::extract(request.headers(), peer, runtime::now(), rng)
        });
        let body: &mut dyn Any = request.body_mut();
        if let Some(body) = body.downcast_mut::<MeshBody>() {
            context.body = body.clock();
        }
        let mut parent = Some(context.trace.span_id());
        if self.tracing.is_enabled() && TraceContext::from_headers(request.headers()).is_none() {
            // The trace begins here: whether it is recorded is for us to say.
            parent = None;
            let sampled = self.tracing.samples_root();
            context.trace = crate::server::with_rng(|rng| TraceContext::start(sampled, rng));
        }
        let mut span = Span::none();
        if self.tracing.is_enabled() && context.trace.is_sampled() {
            if parent.is_some() {
                context.trace = crate::server::with_rng(|rng| context.trace.child(rng));
            }
            span = self
                .tracing
                .start(Side::Server, &context.trace, parent, || {
                    Cow::Owned(format!("{} {}", request.method(), request.uri().path()))
                });
            span.set("http.request.method", || {
                Cow::Owned(request.method().to_string())
            });
            span.set("url.path", || Cow::Owned(request.uri().path().to_owned()));
            if let Some(peer) = &context.peer {
                span.set("mesh.peer", || Cow::Owned(peer.as_str().to_owned()));
            }
        }
        request.extensions_mut().insert(context);
        InboundTraceFuture {
            inner: self.inner.call(request),
            span,
        }
    }
}

impl<S: Describe> Describe for InboundTrace<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("trace");
        self.inner.describe(into);
    }
}

// === impl InboundTraceFuture ===

impl<F, E> Future for InboundTraceFuture<F>
where
    F: Future<Output = Result<Response<MeshBody>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut result = ready!(this.inner.poll(cx));
        if let Ok(response) = &mut result
            && this.span.is_open()
        {
            let status = response.status();
            this.span.set("http.response.status_code", || {
                Cow::Owned(status.as_u16().to_string())
            });
            if let Some(error) = response.extensions().get::<MeshError>() {
                this.span.fail(|| Cow::Owned(error.code().to_string()));
            } else if status.is_server_error() {
                this.span.fail(|| Cow::Owned(status.as_u16().to_string()));
            }
            // The span lasts as long as the answer does.
            if !response.body().is_end_stream() {
                let span = std::mem::replace(this.span, Span::none());
                let body = std::mem::replace(response.body_mut(), MeshBody::empty());
                *response.body_mut() = body.with_guard(span);
            }
        }
        Poll::Ready(result)
    }
}
