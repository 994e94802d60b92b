use std::{
    any::Any,
    cell::Cell,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use mesh_core::error::{ErrorKind, MeshError};
use pin_project_lite::pin_project;

use crate::{body::MeshBody, rescue::inbound::answer};

thread_local! {
    static UNWINDING: Cell<bool> = const { Cell::new(false) };
}

/// Whether the request whose parts are being dropped on this thread ended by a panic.
pub(crate) fn unwinding() -> bool {
    UNWINDING.with(Cell::get)
}

pin_project! {
    /// Future of [`CatchPanic`](super::CatchPanic).
    pub struct ResponseFuture<F> {
        #[pin]
        inner: Option<F>,
        payload: Option<Box<dyn Any + Send>>,
        grpc: bool,
    }
}

// === impl ResponseFuture ===

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, grpc: bool) -> Self {
        Self {
            inner: Some(inner),
            payload: None,
            grpc,
        }
    }

    pub(super) fn panicked(payload: Box<dyn Any + Send>, grpc: bool) -> Self {
        Self {
            inner: None,
            payload: Some(payload),
            grpc,
        }
    }
}

impl<F, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<MeshBody>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(payload) = this.payload.take() {
            return Poll::Ready(Ok(defect(&*payload, *this.grpc)));
        }
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        match catch_unwind(AssertUnwindSafe(|| inner.poll(cx))) {
            Ok(output) => Poll::Ready(ready!(output)),
            Err(payload) => {
                UNWINDING.with(|flag| flag.set(true));
                // Dropping what panicked may panic again; one answer is enough.
                let _ = catch_unwind(AssertUnwindSafe(|| this.inner.set(None)));
                UNWINDING.with(|flag| flag.set(false));
                Poll::Ready(Ok(defect(&*payload, *this.grpc)))
            }
        }
    }
}

/// The answer to a request whose handler panicked. The peer is not told what the panic said.
fn defect(payload: &(dyn Any + Send), grpc: bool) -> Response<MeshBody> {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown");
    tracing::error!(target: "mesh::server", panic = text, "the handler panicked");
    let error = MeshError::new(ErrorKind::Internal, "the handler panicked");
    answer(&error, grpc, false)
}
