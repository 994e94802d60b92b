use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use mesh_core::error::{ErrorKind, MeshError};
use pin_project_lite::pin_project;

use super::after::After;
use crate::BoxError;
use crate::body::MeshBody;
use crate::stack::{BoxFuture, into_mesh_error};

type Answer = Result<Response<MeshBody>, MeshError>;

pin_project! {
    /// The future of [`RouteService`](super::RouteService).
    pub struct RouteFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Forward { #[pin] inner: F, after: Option<Box<After>> },
        Waiting { inner: BoxFuture<Answer> },
        Done { answer: Option<Answer> },
    }
}

// === impl RouteFuture ===

impl<F> RouteFuture<F> {
    pub(super) fn forward(inner: F, after: Option<Box<After>>) -> Self {
        Self {
            state: State::Forward { inner, after },
        }
    }

    pub(super) fn waiting(inner: BoxFuture<Answer>) -> Self {
        Self {
            state: State::Waiting { inner },
        }
    }

    pub(super) fn done(answer: Answer) -> Self {
        Self {
            state: State::Done {
                answer: Some(answer),
            },
        }
    }
}

impl<F, R, E> Future for RouteFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Output = Answer;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        match self.project().state.project() {
            StateProj::Forward { inner, after } => {
                let result = ready!(inner.poll(cx)).map_err(into_mesh_error);
                Poll::Ready(result.map(|response| {
                    let mut response = response.map(MeshBody::new);
                    if let Some(after) = after.take() {
                        after.apply(&mut response);
                    }
                    response
                }))
            }
            StateProj::Waiting { inner } => inner.as_mut().poll(cx),
            StateProj::Done { answer } => Poll::Ready(answer.take().unwrap_or_else(|| {
                Err(MeshError::new(
                    ErrorKind::Internal,
                    "polled after it was done",
                ))
            })),
        }
    }
}

impl<F> std::fmt::Debug for RouteFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouteFuture").finish_non_exhaustive()
    }
}
