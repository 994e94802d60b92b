//! What an attempt came to: the caller's answer, or a failure that another attempt may mend.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use mesh_core::classify::{self, Class, FailureKind, grpc::Pushback};
use mesh_core::error::{Flags, MeshError};
use mesh_core::metadata;
use mesh_core::policy::RetryPolicy;
use mesh_core::retry::Failed;

use super::replay::Replay;
use crate::BoxError;
use crate::body::MeshBody;
use crate::context::CallContext;
use crate::endpoint::retry_after;
use crate::metrics::Ended;
use crate::stack::into_mesh_error;
use crate::transport::ConnInfo;

/// How long the head of a gRPC answer waits for what follows it. A server that fails after it has
/// sent its head sends the trailers at once; a stream that begins later is passed on without.
const PEEK: Duration = Duration::from_millis(10);

/// What an attempt came to.
pub(super) enum Settled {
    /// The caller's answer: good, or a gRPC stream whose status is still to come.
    Final(Result<Response<MeshBody>, MeshError>),
    /// Another attempt may do better.
    Failed(Ended, Result<Response<MeshBody>, MeshError>),
}

/// Trailers that were read before the answer was passed on.
#[derive(Clone)]
struct Seen(HeaderMap);

/// A body with one frame in front of it that was read already.
struct Prefixed {
    first: Option<Frame<Bytes>>,
    inner: MeshBody,
}

pub(super) fn settle<R, E>(
    call: &CallContext,
    policy: Option<&RetryPolicy>,
    result: Result<Response<R>, E>,
) -> Settled
where
    E: Into<BoxError>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    match result {
        Ok(response) => {
            let response = response.map(MeshBody::new);
            match Ended::head(call.is_grpc(), &response) {
                Some(ended) if ended.class.is_failure() || retries(policy, ended) => {
                    Settled::Failed(ended, Ok(response))
                }
                _ => Settled::Final(Ok(response)),
            }
        }
        Err(error) => {
            let error = into_mesh_error(error);
            Settled::Failed(Ended::error(&error), Err(error))
        }
    }
}

/// Whether a policy may want to repeat an answer that is no failure.
fn retries(policy: Option<&RetryPolicy>, ended: Ended) -> bool {
    policy.is_some_and(|policy| {
        ended.class != Class::Success
            || u16::try_from(ended.code).is_ok_and(|status| policy.retries_status(status))
    })
}

/// Whether the status of an answer may follow its head at once, with nothing between that the caller
/// has seen: gRPC, on a call that could be repeated and whose request is sent whole. While the client
/// still sends, nothing may wait for its server: each may be waiting for the other.
pub(super) fn may_peek(call: &CallContext, replay: &Replay, settled: &Settled) -> bool {
    call.is_grpc()
        && replay.is_sent()
        && matches!(settled, Settled::Final(Ok(response)) if !response.body().is_end_stream()
            && classify::grpc::status(response.headers()).is_none())
}

/// Looks at what follows the head of a gRPC answer. Trailers after no message are as good as a
/// trailers-only answer: the caller has seen nothing yet.
pub(super) async fn peek(
    policy: Option<&RetryPolicy>,
    mut response: Response<MeshBody>,
) -> Settled {
    ConnInfo::expose(&mut response);
    let mut body = std::mem::take(response.body_mut());
    let next = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
    let Ok(frame) = tokio::time::timeout(PEEK, next).await else {
        *response.body_mut() = body;
        return Settled::Final(Ok(response));
    };
    match frame {
        None => Settled::Final(Ok(response)),
        Some(Err(error)) => {
            // The answer broke before its first message.
            let error = into_mesh_error(error);
            Settled::Failed(Ended::error(&error), Err(error))
        }
        Some(Ok(frame)) => {
            let trailers = frame.trailers_ref().cloned();
            *response.body_mut() = MeshBody::new(Prefixed {
                first: Some(frame),
                inner: body,
            });
            let Some(trailers) = trailers else {
                return Settled::Final(Ok(response));
            };
            let ended = Ended::grpc(classify::grpc::status(&trailers).unwrap_or(UNKNOWN));
            if !ended.class.is_failure() && !retries(policy, ended) {
                return Settled::Final(Ok(response));
            }
            response.extensions_mut().insert(Seen(trailers));
            Settled::Failed(ended, Ok(response))
        }
    }
}

/// gRPC: an answer without a status.
const UNKNOWN: u32 = 2;

/// The failed attempt, as the decision wants it.
pub(super) fn failed<'a>(
    method: &'a http::Method,
    attempts: u32,
    replay: &Replay,
    ended: Ended,
    result: &Result<Response<MeshBody>, MeshError>,
) -> Failed<'a> {
    let mut flags = Flags::default();
    let mut class = ended.class;
    let (mut status, mut grpc, mut pushback) = (None, None, None);
    match result {
        Ok(response) => {
            if ended.code >= Ended::GRPC_OK {
                grpc = Some(ended.code - Ended::GRPC_OK);
            } else {
                status = Some(response.status().as_u16());
            }
            pushback = pushback_of(response);
            let outcome = response.headers().get(metadata::OUTCOME);
            let is = |value| outcome.is_some_and(|outcome| *outcome == value);
            flags.refused = is(metadata::UNPROCESSED);
            flags.never_sent = is(metadata::UNREACHED);
            flags.broken = is(metadata::BROKEN);
            if flags.never_sent || flags.broken {
                // What the application did to its shim, and would have done to us without one.
                (status, grpc) = (None, None);
                class = Class::Failure(FailureKind::Transport);
            }
        }
        Err(error) => {
            flags = error.flags();
            pushback = pushback.or(error.retry_after().map(Pushback::After));
        }
    }
    Failed {
        class,
        status,
        grpc,
        flags,
        method,
        attempts,
        replayable: replay.can_again(),
        pushback,
    }
}

/// What the server says about another attempt, in whichever of its headers.
fn pushback_of(response: &Response<MeshBody>) -> Option<Pushback> {
    if response.headers().contains_key(metadata::RETRIED) {
        return Some(Pushback::Never);
    }
    let seen = response.extensions().get::<Seen>().map(|seen| &seen.0);
    let read = |headers: &HeaderMap| {
        classify::grpc::pushback(headers).or_else(|| retry_after(headers).map(Pushback::After))
    };
    seen.and_then(read).or_else(|| read(response.headers()))
}

// === impl Prefixed ===

impl Body for Prefixed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.first.take() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => Pin::new(&mut self.inner).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().and_then(Frame::data_ref);
        let first = first.map_or(0, |data| data.len() as u64);
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + first);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + first);
        }
        hint
    }
}
