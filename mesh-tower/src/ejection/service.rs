use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{Request, Response};
use mesh_core::ejection::Observed;
use mesh_core::error::MeshError;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::Outliers;
use crate::BoxError;
use crate::context::CallContext;
use crate::metrics::Ended;
use crate::runtime;
use crate::stack::{Describe, into_mesh_error, is_grpc};

/// Records each attempt at one endpoint.
#[derive(Clone, Debug)]
pub struct EjectionLayer {
    outliers: Arc<Outliers>,
    ix: usize,
}

/// The service of [`EjectionLayer`].
#[derive(Clone, Debug)]
pub struct EjectionService<S> {
    inner: S,
    outliers: Arc<Outliers>,
    ix: usize,
}

pin_project! {
    /// The future of [`EjectionService`]. Dropped early it records nothing: that the caller went
    /// away says nothing about the endpoint.
    #[derive(Debug)]
    pub struct EjectionFuture<F> {
        #[pin]
        inner: F,
        outliers: Arc<Outliers>,
        ix: usize,
        call: Option<CallContext>,
        grpc: bool,
    }
}

// === impl EjectionLayer ===

impl EjectionLayer {
    /// The layer for the endpoint at position `ix` of the outliers' set.
    pub fn new(outliers: Arc<Outliers>, ix: usize) -> Self {
        Self { outliers, ix }
    }
}

impl<S> Layer<S> for EjectionLayer {
    type Service = EjectionService<S>;

    fn layer(&self, inner: S) -> EjectionService<S> {
        EjectionService {
            inner,
            outliers: self.outliers.clone(),
            ix: self.ix,
        }
    }
}

// === impl EjectionService ===

impl<S> EjectionService<S> {
    /// The same as [`Layer::layer`], without cloning the layer.
    pub(crate) fn from_parts(outliers: Arc<Outliers>, ix: usize, inner: S) -> Self {
        Self {
            inner,
            outliers,
            ix,
        }
    }
}

impl<S: Describe> Describe for EjectionService<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("ejection");
        self.inner.describe(into);
    }
}

impl<S, B, R> Service<Request<B>> for EjectionService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    B: 'static,
{
    type Response = Response<R>;
    type Error = MeshError;
    type Future = EjectionFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        self.inner.poll_ready(cx).map_err(into_mesh_error)
    }

    #[inline(always)]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let call = CallContext::get(&request).cloned();
        let grpc = match &call {
            Some(call) => call.is_grpc(),
            None => is_grpc(request.headers()),
        };
        EjectionFuture {
            inner: self.inner.call(request),
            outliers: self.outliers.clone(),
            ix: self.ix,
            call,
            grpc,
        }
    }
}

// === impl EjectionFuture ===

impl<F, R, E> Future for EjectionFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<R>, MeshError>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx)).map_err(into_mesh_error);
        let ended = match &result {
            // An open gRPC answer is recorded when its trailers come, by the endpoint's guard.
            Ok(response) => Ended::head(*this.grpc, response),
            Err(error) => Some(Ended::error(error)),
        };
        if let Some(ended) = ended {
            let now = match this.call {
                // The clock was read when the answer came; not so for an error.
                Some(call) if result.is_ok() => call.now(),
                Some(call) => call.tick(),
                None => runtime::now(),
            };
            record(this.outliers, *this.ix, ended, now);
        }
        Poll::Ready(result)
    }
}

/// Tells the detector, unless the answer says nothing about the endpoint.
pub(crate) fn record(outliers: &Outliers, ix: usize, ended: Ended, now: Instant) {
    if let Some(observed) = Observed::of(ended.class, !ended.is_of_mesh()) {
        outliers.record(ix, observed, now);
    }
}
