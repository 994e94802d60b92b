use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use mesh_core::error::MeshError;
use tower_service::Service;

use super::{HedgeLayer, Latency};
use crate::BoxError;
use crate::body::MeshBody;
use crate::retry::{Rules, run};
use crate::runtime;
use crate::stack::{BoxFuture, into_mesh_error};

/// The service of [`HedgeLayer`].
#[derive(Clone, Debug)]
pub struct HedgeService<S> {
    inner: S,
    layer: HedgeLayer,
}

/// Measures each attempt.
#[derive(Clone)]
struct Measured<S> {
    inner: S,
    layer: HedgeLayer,
}

// === impl HedgeService ===

impl<S> HedgeService<S> {
    pub(super) fn new(inner: S, layer: HedgeLayer) -> Self {
        Self { inner, layer }
    }
}

impl<S, B, R> Service<Request<B>> for HedgeService<S>
where
    S: Service<Request<MeshBody>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = BoxFuture<Result<Response<MeshBody>, MeshError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        self.inner.poll_ready(cx).map_err(into_mesh_error)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that was made ready takes the call; the clone waits for the next one.
        let next = self.inner.clone();
        let ready = Measured {
            inner: std::mem::replace(&mut self.inner, next),
            layer: self.layer.clone(),
        };
        let layer = self.layer.clone();
        let request = request.map(MeshBody::new);
        let hedged = layer.hedger.allows(request.method()) || (layer.marked)(&request);
        Box::pin(async move {
            let rules = Rules::Fixed {
                policy: None,
                budget: &layer.budget,
                hedger: hedged.then_some(&*layer.hedger),
            };
            run(ready, request, rules).await
        })
    }
}

// === impl Measured ===

impl<S, R> Service<Request<MeshBody>> for Measured<S>
where
    S: Service<Request<MeshBody>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: 'static,
    S::Error: 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = BoxFuture<Result<Response<R>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<MeshBody>) -> Self::Future {
        let latency = Latency::begin(&self.layer.hedger, runtime::now());
        let attempt = self.inner.call(request);
        Box::pin(async move {
            let _latency = latency;
            attempt.await
        })
    }
}
