use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use mesh_core::error::MeshError;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::assemble::{ClientStack, client_stack};
use crate::BoxError;
use crate::body::MeshBody;
use crate::context::CallContext;
use crate::mesh::Inner;
use crate::route::{Entry, MeshSource, Source, Target, Unrouted};
use crate::stack::Describe;
use crate::telemetry::Tracing;

/// A client of one service, or of all services by authority. See [`crate::client`].
///
/// `Clone` is cheap. Each clone keeps the view of the policy that it saw last, so a clone per task
/// is better than one behind a lock.
#[derive(Clone)]
pub struct MeshClient {
    stack: ClientStack,
    tracing: Tracing,
}

pin_project! {
    /// The future of a call.
    pub struct ResponseFuture {
        #[pin]
        inner: <ClientStack as Service<Request<MeshBody>>>::Future,
    }
}

// === impl MeshClient ===

impl MeshClient {
    pub(crate) fn for_target(mesh: &Arc<Inner>, target: &str) -> Self {
        Self::new(mesh, Target::parse(target, &mesh.namespace))
    }

    pub(crate) fn for_authority(mesh: &Arc<Inner>) -> Self {
        Self::new(mesh, Target::Authority)
    }

    /// For requests that arrive from outside at a port of this process.
    pub(crate) fn for_entry(mesh: &Arc<Inner>, port: u16, unrouted: Unrouted) -> Self {
        let source = MeshSource::entering(mesh, Entry::new(port, unrouted));
        Self::of_source(mesh, Source::Mesh(Box::new(source)))
    }

    fn new(mesh: &Arc<Inner>, target: Target) -> Self {
        Self::of_source(mesh, Source::of_mesh(mesh, target))
    }

    fn of_source(mesh: &Arc<Inner>, source: Source) -> Self {
        let tracing = mesh.recorder.tracing().clone();
        let deadline = mesh.settings.deadline;
        Self {
            stack: client_stack(source, deadline, tracing.clone(), mesh.probe.clone()),
            tracing,
        }
    }

    /// The layers of the stack as built, outermost first; what
    /// [`CLIENT_ORDER`](crate::stack::CLIENT_ORDER) says.
    pub fn describe(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        self.stack.describe(&mut names);
        names
    }
}

impl<B> Service<Request<B>> for MeshClient
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        let mut request = request.map(MeshBody::new);
        CallContext::begin(&mut request, self.tracing.samples_root());
        ResponseFuture {
            inner: self.stack.call(request),
        }
    }
}

impl std::fmt::Debug for MeshClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MeshClient").finish_non_exhaustive()
    }
}

const _: fn() = || {
    fn client<T: Clone + Send + Sync + Unpin + 'static>() {}
    client::<MeshClient>();
    fn future<T: Send + 'static>() {}
    future::<ResponseFuture>();
};

// === impl ResponseFuture ===

impl Future for ResponseFuture {
    type Output = Result<Response<MeshBody>, MeshError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().inner.poll(cx)
    }
}

impl std::fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
