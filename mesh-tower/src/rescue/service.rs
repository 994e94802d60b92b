use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use mesh_core::error::MeshError;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::grpc_response;
use crate::BoxError;
use crate::body::MeshBody;
use crate::context::CallContext;
use crate::stack::{Describe, into_mesh_error, is_grpc};

/// Answers failed gRPC calls with a gRPC status.
#[derive(Clone, Copy, Debug, Default)]
pub struct RescueLayer(());

/// The service of [`RescueLayer`].
#[derive(Clone, Debug)]
pub struct RescueService<S> {
    inner: S,
}

pin_project! {
    /// The future of [`RescueService`].
    #[derive(Debug)]
    pub struct RescueFuture<F> {
        #[pin]
        inner: F,
        grpc: bool,
    }
}

// === impl RescueLayer ===

impl RescueLayer {
    /// The layer; it has no settings.
    pub fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for RescueLayer {
    type Service = RescueService<S>;

    fn layer(&self, inner: S) -> RescueService<S> {
        RescueService { inner }
    }
}

// === impl RescueService ===

impl<S: Describe> Describe for RescueService<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("rescue");
        self.inner.describe(into);
    }
}

impl<S, B> Service<Request<B>> for RescueService<S>
where
    S: Service<Request<B>, Response = Response<MeshBody>>,
    S::Error: Into<BoxError>,
    B: 'static,
{
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = RescueFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        self.inner.poll_ready(cx).map_err(into_mesh_error)
    }

    #[inline(always)]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let grpc = match CallContext::get(&request) {
            Some(call) => call.is_grpc(),
            None => is_grpc(request.headers()),
        };
        RescueFuture {
            inner: self.inner.call(request),
            grpc,
        }
    }
}

// === impl RescueFuture ===

impl<F, E> Future for RescueFuture<F>
where
    F: Future<Output = Result<Response<MeshBody>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<MeshBody>, MeshError>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(match ready!(this.inner.poll(cx)) {
            Ok(response) => Ok(response),
            Err(error) => {
                let error = into_mesh_error(error);
                if *this.grpc {
                    Ok(grpc_response(error))
                } else {
                    Err(error)
                }
            }
        })
    }
}
