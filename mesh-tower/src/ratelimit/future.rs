use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::Response;
use mesh_core::error::MeshError;
use pin_project_lite::pin_project;

use crate::{BoxError, body::MeshBody, stack::into_mesh_error};

pin_project! {
    /// Future of [`RateLimited`](super::RateLimited).
    pub struct RateLimitFuture<F> {
        #[pin]
        inner: Option<F>,
        refused: Option<MeshError>,
    }
}

// === impl RateLimitFuture ===

impl<F> RateLimitFuture<F> {
    pub(super) fn passed(inner: F) -> Self {
        Self {
            inner: Some(inner),
            refused: None,
        }
    }

    pub(super) fn refused(error: MeshError) -> Self {
        Self {
            inner: None,
            refused: Some(error),
        }
    }
}

impl<F, E> Future for RateLimitFuture<F>
where
    F: Future<Output = Result<Response<MeshBody>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<MeshBody>, MeshError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.inner.as_pin_mut() {
            Some(inner) => inner.poll(cx).map_err(into_mesh_error),
            None => match this.refused.take() {
                Some(error) => Poll::Ready(Err(error)),
                // Polled again after its end.
                None => Poll::Pending,
            },
        }
    }
}
