use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use mesh_core::error::MeshError;
use pin_project_lite::pin_project;

use super::body::Watch;
use crate::{BoxError, body::MeshBody, server::is_buffered, stack::into_mesh_error};

pin_project! {
    /// Future of [`Access`](super::Access).
    pub struct AccessFuture<F> {
        #[pin]
        inner: Option<F>,
        denied: Option<MeshError>,
        watch: Option<Box<Watch>>,
    }
}

// === impl AccessFuture ===

impl<F> AccessFuture<F> {
    pub(super) fn allowed(inner: F, watch: Option<Box<Watch>>) -> Self {
        Self {
            inner: Some(inner),
            denied: None,
            watch,
        }
    }

    pub(super) fn denied(error: MeshError) -> Self {
        Self {
            inner: None,
            denied: Some(error),
            watch: None,
        }
    }
}

impl<F, E> Future for AccessFuture<F>
where
    F: Future<Output = Result<Response<MeshBody>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<MeshBody>, MeshError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(error) = this.denied.take() {
            return Poll::Ready(Err(error));
        }
        let Some(inner) = this.inner.as_pin_mut() else {
            return Poll::Pending;
        };
        let response = ready!(inner.poll(cx)).map_err(into_mesh_error)?;
        Poll::Ready(Ok(match this.watch.take() {
            Some(watch) if !is_buffered(response.body()) => response.map(|body| watch.wrap(body)),
            _ => response,
        }))
    }
}
