use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use mesh_core::ceiling::{Ceiling, Permit};
use mesh_core::error::{ErrorKind, Flags, MeshError};
use mesh_core::telemetry::names;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::BoxError;
use crate::body::MeshBody;
use crate::context::CallContext;
use crate::overload::level_of;
use crate::stack::{Describe, into_mesh_error};

/// Refuses calls over a limit on calls in flight.
#[derive(Clone, Debug)]
pub struct CeilingLayer {
    fixed: Option<Ceiling>,
}

/// The service of [`CeilingLayer`].
#[derive(Clone, Debug)]
pub struct CeilingService<S> {
    inner: S,
    fixed: Option<Ceiling>,
}

pin_project! {
    /// The future of [`CeilingService`].
    #[derive(Debug)]
    pub struct CeilingFuture<F> {
        #[pin]
        inner: Option<F>,
        refused: Option<MeshError>,
        permit: Option<Permit>,
    }
}

// === impl CeilingLayer ===

impl CeilingLayer {
    /// At most `limit` calls in flight, over all clones of the services that this layer makes.
    pub fn new(limit: u32) -> Self {
        Self {
            fixed: Some(Ceiling::new(limit)),
        }
    }

    /// The ceilings of the backend that the route chose.
    pub(crate) fn routed() -> Self {
        Self { fixed: None }
    }
}

impl<S> Layer<S> for CeilingLayer {
    type Service = CeilingService<S>;

    fn layer(&self, inner: S) -> CeilingService<S> {
        CeilingService {
            inner,
            fixed: self.fixed.clone(),
        }
    }
}

// === impl CeilingService ===

impl<S: Describe> Describe for CeilingService<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("ceiling");
        self.inner.describe(into);
    }
}

impl<S, B, R> Service<Request<B>> for CeilingService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    B: 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = CeilingFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        self.inner.poll_ready(cx).map_err(into_mesh_error)
    }

    #[inline(always)]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let permit = match (&self.fixed, CallContext::get(&request)) {
            (Some(ceiling), _) => match ceiling.try_acquire_for(level_of(&request)) {
                Some(permit) => Some(permit),
                None => return CeilingFuture::refused(error(ceiling.limit())),
            },
            (None, Some(call)) => match call.chosen() {
                Some(chosen) => {
                    let ceiling = &chosen.backend.state().ceilings().requests;
                    let Some(permit) = ceiling.try_acquire_for(call.criticality()) else {
                        let service = chosen.service.name();
                        chosen.backend.count(names::CEILING_REACHED, "requests");
                        let error = error(ceiling.limit()).with_service(service);
                        return CeilingFuture::refused(error);
                    };
                    // The call holds it until its body is over.
                    call.keep_permit(permit).err()
                }
                None => None,
            },
            (None, None) => None,
        };
        CeilingFuture {
            inner: Some(self.inner.call(request)),
            refused: None,
            permit,
        }
    }
}

fn error(limit: u32) -> MeshError {
    let message = format!("{limit} calls are in flight, which is the ceiling (maxRequests)");
    MeshError::new(ErrorKind::Ceiling, message)
}

/// Too many calls wait for an endpoint or a connection. It was not sent; another attempt would only
/// wait in the same place.
pub(crate) fn crowded(limit: u32) -> MeshError {
    let message = format!(
        "{limit} calls wait for an endpoint or a connection, which is the ceiling \
         (maxPendingRequests)"
    );
    MeshError::new(ErrorKind::Ceiling, message).with_flags(Flags {
        never_sent: true,
        non_retryable: true,
        ..Flags::default()
    })
}

// === impl CeilingFuture ===

impl<F> CeilingFuture<F> {
    fn refused(error: MeshError) -> Self {
        Self {
            inner: None,
            refused: Some(error),
            permit: None,
        }
    }
}

impl<F, R, E> Future for CeilingFuture<F>
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
        let Some(inner) = this.inner.as_pin_mut() else {
            return Poll::Ready(Err(this.refused.take().unwrap_or_else(|| error(0))));
        };
        let result = ready!(inner.poll(cx)).map_err(into_mesh_error);
        Poll::Ready(result.map(|response| {
            let response = response.map(MeshBody::new);
            match this.permit.take() {
                Some(permit) => response.map(|body| body.with_guard(permit)),
                None => response,
            }
        }))
    }
}
