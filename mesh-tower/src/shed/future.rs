use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use mesh_core::error::MeshError;
use pin_project_lite::pin_project;

use super::permit::Permit;
use crate::{BoxError, body::MeshBody, server::is_buffered, stack::into_mesh_error};

pin_project! {
    /// Future of [`Shed`](super::Shed).
    pub struct ShedFuture<F> {
        #[pin]
        inner: Option<F>,
        permit: Option<Permit>,
        refused: Option<MeshError>,
    }
}

// === impl ShedFuture ===

impl<F> ShedFuture<F> {
    pub(super) fn entered(inner: F, permit: Permit) -> Self {
        Self {
            inner: Some(inner),
            permit: Some(permit),
            refused: None,
        }
    }

    pub(super) fn refused(error: MeshError) -> Self {
        Self {
            inner: None,
            permit: None,
            refused: Some(error),
        }
    }
}

impl<F, E> Future for ShedFuture<F>
where
    F: Future<Output = Result<Response<MeshBody>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<MeshBody>, MeshError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(error) = this.refused.take() {
            return Poll::Ready(Err(error));
        }
        let Some(inner) = this.inner.as_pin_mut() else {
            return Poll::Pending;
        };
        let result = ready!(inner.poll(cx)).map_err(into_mesh_error);
        let permit = this.permit.take();
        Poll::Ready(result.map(|response| match permit {
            Some(permit) if !is_buffered(response.body()) => {
                response.map(|body| body.with_guard(permit))
            }
            _ => response,
        }))
    }
}
