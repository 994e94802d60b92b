use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use mesh_core::error::MeshError;
use pin_project_lite::pin_project;

use super::{Guard, Watch};
use crate::BoxError;
use crate::body::MeshBody;
use crate::context::CallContext;
use crate::metrics::Ended;
use crate::stack::into_mesh_error;
use crate::transport::ConnInfo;

pin_project! {
    /// The future of [`EndpointService`](super::EndpointService). Dropped early, the call is no
    /// longer in flight.
    pub struct EndpointFuture<F> {
        #[pin]
        inner: F,
        guard: Option<Guard>,
        call: Option<CallContext>,
    }
}

// === impl EndpointFuture ===

impl<F> EndpointFuture<F> {
    pub(super) fn new(inner: F, guard: Option<Guard>, call: CallContext) -> Self {
        Self {
            inner,
            guard,
            call: Some(call),
        }
    }
}

impl<F, R, E> Future for EndpointFuture<F>
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
        let result = ready!(this.inner.poll(cx));
        let mut guard = this.guard.take();
        let Some(call) = this.call.take() else {
            // Polled after it was done.
            return Poll::Ready(
                result
                    .map_err(into_mesh_error)
                    .map(|r| r.map(MeshBody::new)),
            );
        };
        Poll::Ready(match result {
            Err(error) => {
                let error = into_mesh_error(error);
                call.tick();
                if let Some(guard) = &mut guard {
                    guard.connect_evidence(&error);
                    guard.record(Ended::error(&error), None);
                }
                Err(error)
            }
            Ok(response) => {
                let mut response = response.map(MeshBody::new);
                if let Some(guard) = &mut guard {
                    guard.headers(response.headers());
                    if let Some(ended) = Ended::head(call.is_grpc(), &response) {
                        guard.record(ended, Some(response.headers()));
                    }
                }
                if let Some(edge) = call.edge()
                    && ConnInfo::of(&response).is_some_and(|at| !at.tls)
                {
                    edge.plaintext();
                }
                call.hold();
                Watch::over(&mut response, call, guard);
                Ok(response)
            }
        })
    }
}

impl<F> std::fmt::Debug for EndpointFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointFuture").finish_non_exhaustive()
    }
}
