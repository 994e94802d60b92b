use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::Response;
use mesh_core::error::MeshError;
use pin_project_lite::pin_project;

use crate::{
    BoxError,
    body::MeshBody,
    stack::{BoxFuture, into_mesh_error},
};

pin_project! {
    /// Future of [`Coalesce`](super::Coalesce).
    pub struct CoalesceFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = Project]
    enum State<F> {
        Alone { #[pin] inner: F },
        Shared { inner: BoxFuture<Result<Response<MeshBody>, MeshError>> },
    }
}

// === impl CoalesceFuture ===

impl<F> CoalesceFuture<F> {
    pub(super) fn alone(inner: F) -> Self {
        Self {
            state: State::Alone { inner },
        }
    }

    pub(super) fn shared(inner: BoxFuture<Result<Response<MeshBody>, MeshError>>) -> Self {
        Self {
            state: State::Shared { inner },
        }
    }
}

impl<F, E> Future for CoalesceFuture<F>
where
    F: Future<Output = Result<Response<MeshBody>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<MeshBody>, MeshError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Project::Alone { inner } => inner.poll(cx).map_err(into_mesh_error),
            Project::Shared { inner } => inner.as_mut().poll(cx),
        }
    }
}
