use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use mesh_core::classify::grpc;
use mesh_core::error::{ErrorKind, MeshError};
use pin_project_lite::pin_project;
use tokio::time::Sleep;

use super::Guard;
use crate::BoxError;
use crate::body::{MeshBody, Source};
use crate::context::CallContext;
use crate::metrics::Ended;
use crate::runtime;

pin_project! {
    /// A response body that keeps a call open until it ends, reads the gRPC status in its trailers,
    /// and ends a body that has been silent for too long.
    pub(crate) struct Watched {
        inner: MeshBody,
        open: Option<Open>,
        // A gRPC status is still to come.
        grpc: bool,
        idle: Option<Duration>,
        // Since when a reader waits for the next frame.
        waiting: Option<Instant>,
        // Made at the first wait and set anew only when it fires, not at each frame: by then the
        // current wait may be a later one.
        #[pin]
        timer: Option<Sleep>,
    }
}

struct Open {
    call: CallContext,
    guard: Option<Guard>,
}

// === impl Watched ===

impl Watched {
    /// Ties a call, and the attempt that is answered, to the end of a response's body.
    pub(crate) fn wrap(
        mut response: Response<MeshBody>,
        call: CallContext,
        guard: Option<Guard>,
    ) -> Response<MeshBody> {
        let mut open = Open { call, guard };
        if response.body().is_end_stream() {
            // Nothing to wait for. A gRPC answer that ends without a status is a broken one.
            if Ended::head(open.call.is_grpc(), &response).is_none() {
                open.ended(Ended::grpc(UNKNOWN), response.headers());
            }
            return response;
        }
        let grpc = open.call.is_grpc() && grpc::status(response.headers()).is_none();
        let route = open.call.chosen().and_then(|chosen| chosen.route.as_ref());
        let idle = route.and_then(|route| route.timeouts().idle());
        // In place: the head need not be copied for a new body.
        let inner = std::mem::take(response.body_mut());
        *response.body_mut() = if !grpc && idle.is_none() {
            // Nothing to read or to limit, so holding on until the end is enough.
            inner.with_guard(open)
        } else {
            MeshBody::of(Self {
                inner,
                open: Some(open),
                grpc,
                idle,
                waiting: None,
                timer: None,
            })
        };
        response
    }

    /// Looks after a body without a frame: the error when its time is up.
    fn wait(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<MeshError> {
        let mut this = self.project();
        let Some(limit) = *this.idle else {
            return Poll::Pending;
        };
        let now = runtime::now();
        let since = *this.waiting.get_or_insert(now);
        loop {
            let Some(at) = since.checked_add(limit).map(tokio::time::Instant::from_std) else {
                return Poll::Pending;
            };
            let Some(mut timer) = this.timer.as_mut().as_pin_mut() else {
                this.timer.set(Some(tokio::time::sleep_until(at)));
                continue;
            };
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= at {
                let call = this.open.as_ref().map(|open| &open.call);
                return Poll::Ready(silent(limit, call));
            }
            // It was set for an earlier wait.
            timer.reset(at);
        }
    }
}

fn silent(limit: Duration, call: Option<&CallContext>) -> MeshError {
    let message = format!("the answer has been silent for {limit:?} and was given up");
    let error = MeshError::new(ErrorKind::AttemptTimeout, message);
    let Some(chosen) = call.and_then(CallContext::chosen) else {
        return error;
    };
    let error = error.with_service(chosen.service.name());
    match &chosen.route {
        Some(route) => error.with_note("policy", format!("idle timeout of {}", route.origin())),
        None => error,
    }
}

// === impl Open ===

impl Open {
    fn ended(&mut self, ended: Ended, trailers: &HeaderMap) {
        self.call.ending().set(ended);
        if let Some(guard) = &mut self.guard {
            guard.trailers(ended, trailers);
        }
    }
}

/// gRPC: an answer without a status.
const UNKNOWN: u32 = 2;
/// gRPC: a stream that broke.
const UNAVAILABLE: u32 = 14;

impl Source for Watched {}

impl Body for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.as_mut().project();
        let frame = match Pin::new(&mut *this.inner).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let error = ready!(self.as_mut().wait(cx));
                let this = self.project();
                if let Some(open) = this.open.take() {
                    // Of the call, not of the endpoint: who is silent may have nothing to say.
                    open.call.ending().set(Ended::error(&error));
                }
                *this.idle = None;
                // The peer need not send what nobody reads.
                *this.inner = MeshBody::empty();
                return Poll::Ready(Some(Err(error.into())));
            }
        };
        *this.waiting = None;
        let ended = match &frame {
            Some(Ok(frame)) if *this.grpc => frame.trailers_ref().map(|trailers| {
                let code = grpc::status(trailers).unwrap_or(UNKNOWN);
                (Ended::grpc(code), Some(trailers))
            }),
            Some(Err(_)) if *this.grpc => Some((Ended::grpc(UNAVAILABLE), None)),
            _ => None,
        };
        if let Some((ended, trailers)) = ended {
            if let Some(mut open) = this.open.take() {
                open.ended(ended, trailers.unwrap_or(&HeaderMap::new()));
            }
        } else if !matches!(frame, Some(Ok(_))) || (!*this.grpc && this.inner.is_end_stream()) {
            *this.open = None;
        }
        if this.open.is_none() {
            this.timer.set(None);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
