use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};
use mesh_core::classify::grpc;
use mesh_core::error::{ErrorKind, MeshError};
use pin_project_lite::pin_project;

use super::recording::Recording;
use crate::BoxError;
use crate::body::{MeshBody, forward_size};
use crate::metrics::Ended;
use crate::stack::into_mesh_error;
use crate::transport::ConnInfo;

pin_project! {
    /// The future of [`BreakerService`](super::BreakerService).
    pub struct BreakerFuture<F> {
        #[pin]
        inner: Option<F>,
        // In a box: a call without a breaker must not carry the room for one.
        watch: Option<Box<Watch>>,
    }
}

enum Watch {
    Attempt(Recording),
    Refused(MeshError),
}

/// The body of an answer that is not over: a gRPC status is still to come, and any body may break.
struct Open {
    inner: MeshBody,
    recording: Option<Recording>,
    /// What the head has said; none of a gRPC status that comes in trailers.
    head: Option<Ended>,
}

// === impl BreakerFuture ===

impl<F> BreakerFuture<F> {
    pub(super) fn unwatched(inner: F) -> Self {
        Self {
            inner: Some(inner),
            watch: None,
        }
    }

    pub(super) fn watched(inner: F, recording: Recording) -> Self {
        Self {
            inner: Some(inner),
            watch: Some(Box::new(Watch::Attempt(recording))),
        }
    }

    pub(super) fn refused(error: MeshError) -> Self {
        Self {
            inner: None,
            watch: Some(Box::new(Watch::Refused(error))),
        }
    }
}

impl<F, R, E> Future for BreakerFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<MeshBody>, MeshError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            let refused = match this.watch.take().map(|watch| *watch) {
                Some(Watch::Refused(error)) => error,
                _ => MeshError::new(ErrorKind::BreakerOpen, "polled after it was done"),
            };
            return Poll::Ready(Err(refused));
        };
        let result = ready!(inner.poll(cx)).map_err(into_mesh_error);
        let Some(Watch::Attempt(mut recording)) = this.watch.take().map(|watch| *watch) else {
            return Poll::Ready(result.map(|response| response.map(MeshBody::new)));
        };
        Poll::Ready(match result {
            Err(error) => {
                recording.ended(Ended::error(&error));
                Err(error)
            }
            Ok(response) => match Ended::head(recording.grpc, &response) {
                // A failure is one however its body ends.
                Some(ended) if ended.class.is_failure() || response.body().is_end_stream() => {
                    recording.ended(ended);
                    Ok(response.map(MeshBody::new))
                }
                head => {
                    recording.answered();
                    let mut response = response.map(MeshBody::new);
                    ConnInfo::expose(&mut response);
                    Ok(response.map(|inner| {
                        MeshBody::new(Open {
                            inner,
                            recording: Some(recording),
                            head,
                        })
                    }))
                }
            },
        })
    }
}

impl<F> std::fmt::Debug for BreakerFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BreakerFuture").finish_non_exhaustive()
    }
}

// === impl Open ===

/// gRPC: an answer without a status.
const UNKNOWN: u32 = 2;
/// gRPC: a stream that broke.
const UNAVAILABLE: u32 = 14;

impl Body for Open {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        let ended = match (&frame, self.head) {
            (Some(Err(_)), _) => Some(Ended::grpc(UNAVAILABLE)),
            (Some(Ok(_)), Some(head)) => self.inner.is_end_stream().then_some(head),
            (None, Some(head)) => Some(head),
            (Some(Ok(frame)), None) => frame
                .trailers_ref()
                .map(|trailers| Ended::grpc(grpc::status(trailers).unwrap_or(UNKNOWN))),
            (None, None) => Some(Ended::grpc(UNKNOWN)),
        };
        if let Some(ended) = ended
            && let Some(mut recording) = self.recording.take()
        {
            recording.ended(ended);
        }
        Poll::Ready(frame)
    }

    forward_size!(inner);
}
