use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use pin_project_lite::pin_project;

use super::line::Line;
use crate::{body::MeshBody, server::is_buffered};

pin_project! {
    /// Future of [`AccessLog`](super::AccessLog).
    pub struct AccessLogFuture<F> {
        #[pin]
        pub(super) inner: F,
        pub(super) line: Option<Box<Line>>,
    }
}

// === impl AccessLogFuture ===

impl<F, E> Future for AccessLogFuture<F>
where
    F: Future<Output = Result<Response<MeshBody>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        let Some(mut line) = this.line.take() else {
            return Poll::Ready(result);
        };
        Poll::Ready(result.map(|response| {
            line.answered(&response);
            if is_buffered(response.body()) {
                return response;
            }
            response.map(|body| body.with_guard(line))
        }))
    }
}
