use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use mesh_core::error::{ErrorKind, MeshError};
use tower_service::Service;

use super::Describe;
use crate::BoxError;
use crate::body::MeshBody;
use crate::headers::find;

/// A future behind a pointer, as a seam returns it.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// An erased service that can be called through a shared reference and is always ready.
pub trait DynService: Send + Sync + 'static {
    /// Starts one call.
    fn call(&self, request: Request<MeshBody>) -> BoxFuture<Result<Response<MeshBody>, MeshError>>;

    /// Appends the names of the layers below.
    fn describe(&self, into: &mut Vec<&'static str>) {
        let _ = into;
    }
}

/// A place where a stack's type is erased and where users' own tower layers go in.
///
/// Cloning is one atomic increment.
#[derive(Clone)]
pub struct Seam(Arc<dyn DynService>);

/// Adapts any tower service to a seam: clones it per call and waits for its readiness inside the
/// call.
struct Erased<S>(S);

// === impl Seam ===

impl Seam {
    /// A seam over a service that is called by shared reference.
    pub fn from_dyn(service: Arc<dyn DynService>) -> Self {
        Self(service)
    }

    /// A seam over any tower service. Its readiness is awaited inside each call.
    pub fn new<S>(service: S) -> Self
    where
        S: Service<Request<MeshBody>, Response = Response<MeshBody>>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        // A seam put in front of a seam would box every future twice for nothing.
        let any: &dyn Any = &service;
        if let Some(seam) = any.downcast_ref::<Self>() {
            return seam.clone();
        }
        Self(Arc::new(Erased(service)))
    }

    /// Starts one call; a seam is always ready.
    pub(crate) fn call_ref(
        &self,
        request: Request<MeshBody>,
    ) -> BoxFuture<Result<Response<MeshBody>, MeshError>> {
        self.0.call(request)
    }
}

impl fmt::Debug for Seam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = Vec::new();
        self.describe(&mut names);
        f.debug_tuple("Seam").field(&names).finish()
    }
}

impl Describe for Seam {
    fn describe(&self, into: &mut Vec<&'static str>) {
        self.0.describe(into);
    }
}

impl Service<Request<MeshBody>> for Seam {
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = BoxFuture<Result<Response<MeshBody>, MeshError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<MeshBody>) -> Self::Future {
        self.0.call(request)
    }
}

// === impl Erased ===

impl<S> DynService for Erased<S>
where
    S: Service<Request<MeshBody>, Response = Response<MeshBody>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    fn call(&self, request: Request<MeshBody>) -> BoxFuture<Result<Response<MeshBody>, MeshError>> {
        let mut service = self.0.clone();
        Box::pin(async move {
            std::future::poll_fn(|cx| service.poll_ready(cx))
                .await
                .map_err(into_mesh_error)?;
            service.call(request).await.map_err(into_mesh_error)
        })
    }
}

/// Keeps a `MeshError` as it is and wraps anything else as `Internal` with its source.
pub(crate) fn into_mesh_error(error: impl Into<BoxError>) -> MeshError {
    match error.into().downcast::<MeshError>() {
        Ok(error) => *error,
        Err(error) => {
            // A layer of the user may have wrapped ours; its code must not be lost on the way.
            let mut source: Option<&(dyn std::error::Error + 'static)> = error.source();
            while let Some(inner) = source {
                if let Some(mesh) = inner.downcast_ref::<MeshError>() {
                    return mesh.clone();
                }
                source = inner.source();
            }
            let text = error.to_string();
            MeshError::new(ErrorKind::Internal, text).with_source(error)
        }
    }
}

/// Whether a message's content type says gRPC.
pub(crate) fn is_grpc(headers: &http::HeaderMap) -> bool {
    find(headers, &http::header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}
