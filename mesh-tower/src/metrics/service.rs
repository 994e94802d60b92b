use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use mesh_core::error::MeshError;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{Edge, Ended};
use crate::BoxError;
use crate::body::MeshBody;
use crate::context::CallContext;
use crate::endpoint::Watch;
use crate::stack::{Describe, into_mesh_error};
use crate::telemetry::Recorder;

/// Counts calls.
#[derive(Clone, Debug, Default)]
pub struct MetricsLayer {
    edge: Option<Arc<Edge>>,
}

/// The service of [`MetricsLayer`].
#[derive(Clone, Debug)]
pub struct MetricsService<S> {
    inner: S,
    edge: Option<Arc<Edge>>,
}

pin_project! {
    /// The future of [`MetricsService`].
    #[derive(Debug)]
    pub struct MetricsFuture<F> {
        #[pin]
        inner: F,
        call: CallContext,
    }
}

// === impl MetricsLayer ===

impl MetricsLayer {
    /// Counts under a fixed service and route.
    pub fn new(recorder: &Recorder, service: &str, route: &str) -> Self {
        Self {
            edge: Some(Arc::new(Edge::new(service.into(), route.into(), recorder))),
        }
    }

    /// Counts under the service and route that the route layer finds.
    pub(crate) fn routed() -> Self {
        Self { edge: None }
    }
}

impl<S> Layer<S> for MetricsLayer {
    type Service = MetricsService<S>;

    fn layer(&self, inner: S) -> MetricsService<S> {
        MetricsService {
            inner,
            edge: self.edge.clone(),
        }
    }
}

// === impl MetricsService ===

impl<S: Describe> Describe for MetricsService<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("metrics");
        self.inner.describe(into);
    }
}

impl<S, B, R> Service<Request<B>> for MetricsService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    B: 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = MetricsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        self.inner.poll_ready(cx).map_err(into_mesh_error)
    }

    #[inline(always)]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let call = CallContext::of(&mut request);
        if let Some(edge) = &self.edge {
            call.count_at(edge.clone());
        }
        MetricsFuture {
            inner: self.inner.call(request),
            call,
        }
    }
}

// === impl MetricsFuture ===

impl<F, R, E> Future for MetricsFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<MeshBody>, MeshError>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(match ready!(this.inner.poll(cx)) {
            Ok(response) => {
                let mut response = response.map(MeshBody::new);
                this.call.ending().headers_after(this.call.elapsed());
                if let Some(ended) = Ended::head(this.call.is_grpc(), &response) {
                    this.call.ending().set(ended);
                }
                // In the assembled stack the endpoint's guard holds the call until the body ends.
                if !this.call.hold() {
                    Watch::over(&mut response, this.call.clone(), None);
                }
                Ok(response)
            }
            Err(error) => {
                let error = into_mesh_error(error);
                this.call.ending().set(Ended::error(&error));
                Err(error)
            }
        })
    }
}
