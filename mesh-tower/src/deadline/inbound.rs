//! The caller's deadline on the callee's side: expired work is refused before the handler sees it,
//! and a handler that is still at work when the caller stops waiting is dropped.
//!
//! A gRPC stream keeps the deadline that its caller has set (`grpc-timeout`), and ends with
//! DEADLINE_EXCEEDED in its trailers. Any other deadline (`x-mesh-timeout-ms`, a route's or the
//! default) is one for the head of the answer: events, downloads and tunnels last as long as they do, and so
//! do uploads, since it counts from the last piece of the request.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use mesh_core::{
    context::{Deadline, RequestContext},
    error::{ErrorKind, MeshError},
    metadata,
};
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    BoxError,
    body::MeshBody,
    runtime,
    server::is_buffered,
    stack::{Describe, into_mesh_error, is_grpc},
    timeout::poll_over,
};

/// Holds each request to its caller's deadline.
#[derive(Clone, Copy, Debug, Default)]
pub struct InboundDeadlineLayer(());

/// Service of [`InboundDeadlineLayer`].
#[derive(Clone, Debug)]
pub struct InboundDeadline<S> {
    inner: S,
}

pin_project! {
    /// Future of [`InboundDeadline`].
    pub struct InboundDeadlineFuture<F> {
        #[pin]
        inner: Option<F>,
        #[pin]
        sleep: Option<Sleep>,
        deadline: Option<Deadline>,
        budget: Duration,
        to_the_end: bool,
    }
}

pin_project! {
    /// A body that ends at the deadline.
    struct Bounded {
        #[pin]
        inner: MeshBody,
        #[pin]
        sleep: Sleep,
        cut: bool,
    }
}

fn expired(budget: Duration) -> MeshError {
    let what = if budget.is_zero() {
        "the caller's deadline had passed when the request arrived".to_owned()
    } else {
        format!("the caller's deadline of {budget:.1?} passed")
    };
    MeshError::new(ErrorKind::Deadline, what)
}

// === impl InboundDeadlineLayer ===

impl InboundDeadlineLayer {
    /// The layer has no settings: the deadline is the caller's.
    pub const fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for InboundDeadlineLayer {
    type Service = InboundDeadline<S>;

    fn layer(&self, inner: S) -> InboundDeadline<S> {
        InboundDeadline { inner }
    }
}

// === impl InboundDeadline ===

impl<S, B> Service<Request<B>> for InboundDeadline<S>
where
    S: Service<Request<B>, Response = Response<MeshBody>>,
    S::Error: Into<BoxError>,
{
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = InboundDeadlineFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        self.inner.poll_ready(cx).map_err(into_mesh_error)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let deadline = request
            .extensions()
            .get::<RequestContext>()
            .and_then(RequestContext::held_to);
        let Some(deadline) = deadline else {
            return InboundDeadlineFuture {
                inner: Some(self.inner.call(request)),
                sleep: None,
                deadline: None,
                budget: Duration::ZERO,
                to_the_end: false,
            };
        };
        let headers = request.headers();
        let to_the_end = is_grpc(headers) && headers.contains_key(metadata::GRPC_TIMEOUT);
        let budget = deadline.left(runtime::now());
        InboundDeadlineFuture {
            inner: (!budget.is_zero()).then(|| self.inner.call(request)),
            // By duration, not by instant: tokio's clock may be paused, std's never is.
            sleep: Some(tokio::time::sleep(budget)),
            deadline: Some(deadline),
            budget,
            to_the_end,
        }
    }
}

impl<S: Describe> Describe for InboundDeadline<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("deadline");
        self.inner.describe(into);
    }
}

// === impl InboundDeadlineFuture ===

impl<F, E> Future for InboundDeadlineFuture<F>
where
    F: Future<Output = Result<Response<MeshBody>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<MeshBody>, MeshError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(Err(expired(*this.budget)));
        };
        let Poll::Ready(result) = inner.poll(cx) else {
            if let Some(sleep) = this.sleep.as_mut().as_pin_mut() {
                let deadline = this.deadline.as_ref();
                ready!(poll_over(sleep, cx, |now| {
                    deadline.map_or(Duration::ZERO, |deadline| deadline.left(now))
                }));
                // Dropped here and not with the answer: cancelling is the point.
                this.inner.set(None);
                return Poll::Ready(Err(expired(*this.budget)));
            }
            return Poll::Pending;
        };
        let response = result.map_err(into_mesh_error)?;
        let Some(at) = this
            .sleep
            .as_ref()
            .as_pin_ref()
            .map(|sleep| sleep.deadline())
        else {
            return Poll::Ready(Ok(response));
        };
        if !*this.to_the_end || is_buffered(response.body()) {
            return Poll::Ready(Ok(response));
        }
        Poll::Ready(Ok(response.map(|inner| {
            MeshBody::new(Bounded {
                inner,
                sleep: tokio::time::sleep_until(at),
                cut: false,
            })
        })))
    }
}

// === impl Bounded ===

impl Body for Bounded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        if *this.cut {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = this.inner.as_mut().poll_frame(cx) {
            return Poll::Ready(frame);
        }
        ready!(this.sleep.poll(cx));
        *this.cut = true;
        this.inner.set(MeshBody::empty());
        let mut trailers = HeaderMap::with_capacity(2);
        trailers.insert(metadata::GRPC_STATUS, HeaderValue::from_static("4"));
        trailers.insert(
            metadata::GRPC_MESSAGE,
            HeaderValue::from_static("the caller's deadline passed [M2008]"),
        );
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.cut || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
