use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame};
use mesh_core::classify::grpc;
use mesh_core::error::{ErrorKind, MeshError};
use tokio::time::Sleep;

use super::Guard;
use crate::BoxError;
use crate::body::MeshBody;
use crate::context::CallContext;
use crate::metrics::Ended;
use crate::runtime;

/// What keeps a call open until its answer's body ends, reads the gRPC status in the trailers, and
/// ends a body that has been silent for too long. It sits in the body's own allocation.
pub(crate) struct Watch {
    open: Open,
    /// A gRPC status is still to come.
    grpc: bool,
    idle: Option<Duration>,
    /// Since when a reader waits for the next frame.
    waiting: Option<Instant>,
    /// Made at the first wait and set anew only when it fires, not at each frame: by then the
    /// current wait may be a later one.
    timer: Option<Pin<Box<Sleep>>>,
}

struct Open {
    call: CallContext,
    guard: Option<Guard>,
}

// === impl Watch ===

impl Watch {
    /// Ties a call, and the attempt that is answered, to the end of a response's body.
    pub(crate) fn over(response: &mut Response<MeshBody>, call: CallContext, guard: Option<Guard>) {
        let mut open = Open { call, guard };
        if response.body().is_end_stream() {
            // Nothing to wait for. A gRPC answer that ends without a status is a broken one.
            if Ended::head(open.call.is_grpc(), response).is_none() {
                open.ended(Ended::grpc(UNKNOWN), response.headers());
            }
            return;
        }
        let grpc = open.call.is_grpc() && grpc::status(response.headers()).is_none();
        let chosen = open.call.chosen();
        let idle = chosen.and_then(|chosen| chosen.backend.policy().stream_idle());
        if let Some(place) = response.body_mut().watch() {
            *place = Some(Self {
                open,
                grpc,
                idle,
                waiting: None,
                timer: None,
            });
        }
    }

    /// Looks after a body without a frame: the error when its time is up.
    pub(crate) fn wait(&mut self, cx: &mut Context<'_>) -> Poll<MeshError> {
        let Some(limit) = self.idle else {
            return Poll::Pending;
        };
        let now = runtime::now();
        let since = *self.waiting.get_or_insert(now);
        loop {
            let Some(at) = since.checked_add(limit).map(tokio::time::Instant::from_std) else {
                return Poll::Pending;
            };
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= at {
                let error = silent(limit, &self.open.call);
                // Of the call, not of the endpoint: who is silent may have nothing to say.
                self.open.call.ending().set(Ended::error(&error));
                return Poll::Ready(error);
            }
            // It was set for an earlier wait.
            timer.as_mut().reset(at);
        }
    }

    /// Looks at a frame; `last` when no other can follow. Answers whether there is nothing left to
    /// watch.
    pub(crate) fn saw(
        &mut self,
        frame: &Option<Result<Frame<Bytes>, BoxError>>,
        last: bool,
    ) -> bool {
        self.waiting = None;
        if !self.grpc {
            return last;
        }
        match frame {
            Some(Ok(frame)) => {
                let Some(trailers) = frame.trailers_ref() else {
                    return false;
                };
                let code = grpc::status(trailers).unwrap_or(UNKNOWN);
                self.open.ended(Ended::grpc(code), trailers);
                true
            }
            Some(Err(_)) => {
                self.open.ended(Ended::grpc(UNAVAILABLE), &HeaderMap::new());
                true
            }
            None => true,
        }
    }
}

fn silent(limit: Duration, call: &CallContext) -> MeshError {
    let message = format!("the answer has been silent for {limit:?} and was given up");
    let error = MeshError::new(ErrorKind::AttemptTimeout, message);
    let Some(chosen) = call.chosen() else {
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
