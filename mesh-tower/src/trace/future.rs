use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

use crate::telemetry::Span;

pin_project! {
    /// The future of [`TraceService`](super::TraceService). The span ends with the response's head.
    pub struct TraceFuture<F> {
        #[pin]
        inner: F,
        span: Span,
    }
}

impl<F> TraceFuture<F> {
    pub(super) fn new(inner: F, span: Span) -> Self {
        Self { inner, span }
    }
}

impl<F, R, E> Future for TraceFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        finish(this.span, result.as_ref().ok().map(Response::status));
        Poll::Ready(result)
    }
}

/// Says how a call or an attempt went, and exports its span.
pub(crate) fn finish(span: &mut Span, status: Option<http::StatusCode>) {
    if !span.is_open() {
        return;
    }
    match status {
        Some(status) => {
            span.set("http.response.status_code", || {
                status.as_str().to_owned().into()
            });
            if status.is_server_error() {
                span.fail(|| status.as_str().to_owned().into());
            }
        }
        None => span.fail(|| "error".into()),
    }
    *span = Span::none();
}

impl<F> std::fmt::Debug for TraceFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TraceFuture").finish_non_exhaustive()
    }
}
