use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use mesh_core::balance::EndpointSet;
use mesh_core::error::MeshError;
use mesh_core::policy::BalancePolicy;
use tower_layer::Layer;
use tower_service::Service;

use super::{At, EndpointFuture, Guard};
use crate::BoxError;
use crate::body::MeshBody;
use crate::context::CallContext;
use crate::live_view::BackendView;
use crate::stack::{Describe, into_mesh_error};

/// Counts calls in flight at one endpoint and measures their latency.
#[derive(Clone)]
pub struct EndpointLayer {
    at: At,
}

/// The service of [`EndpointLayer`].
#[derive(Clone)]
pub struct EndpointService<S> {
    inner: S,
    layer: EndpointLayer,
}

// === impl EndpointLayer ===

impl EndpointLayer {
    /// The layer for the endpoint at position `ix` of `set`.
    pub fn new(set: EndpointSet, ix: usize, policy: BalancePolicy) -> Self {
        Self {
            at: At::Fixed {
                set,
                ix,
                policy: Arc::new(policy),
            },
        }
    }

    /// The same for the endpoint of a view.
    pub(crate) fn of_mesh(backend: Arc<BackendView>, ix: usize) -> Self {
        Self {
            at: At::Mesh { backend, ix },
        }
    }
}

impl<S> Layer<S> for EndpointLayer {
    type Service = EndpointService<S>;

    fn layer(&self, inner: S) -> EndpointService<S> {
        EndpointService {
            inner,
            layer: self.clone(),
        }
    }
}

impl std::fmt::Debug for EndpointLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointLayer")
            .field("ix", &self.at.ix())
            .finish_non_exhaustive()
    }
}

// === impl EndpointService ===

impl<S> EndpointService<S> {
    /// The same as [`Layer::layer`], without cloning the layer.
    pub(crate) fn from_parts(layer: EndpointLayer, inner: S) -> Self {
        Self { inner, layer }
    }

    /// The same as [`Service::call`] for a service that has only one.
    #[inline(always)]
    pub(crate) fn once<B: 'static>(mut self, mut request: Request<B>) -> EndpointFuture<S::Future>
    where
        S: Service<Request<B>>,
    {
        let call = CallContext::of(&mut request);
        let guard = Guard::begin(self.layer.at, Some(call.clone()));
        EndpointFuture::new(self.inner.call(request), guard, call)
    }
}

impl<S: Describe> Describe for EndpointService<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("endpoint");
        self.inner.describe(into);
    }
}

impl<S> std::fmt::Debug for EndpointService<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointService")
            .field("layer", &self.layer)
            .finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for EndpointService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    B: 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = EndpointFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        self.inner.poll_ready(cx).map_err(into_mesh_error)
    }

    #[inline(always)]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let call = CallContext::of(&mut request);
        let guard = Guard::begin(self.layer.at.clone(), Some(call.clone()));
        EndpointFuture::new(self.inner.call(request), guard, call)
    }
}
