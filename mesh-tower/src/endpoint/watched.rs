use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use mesh_core::classify::grpc;

use super::Guard;
use crate::BoxError;
use crate::body::MeshBody;
use crate::context::CallContext;
use crate::metrics::Ended;

/// A response body that keeps a call open until it ends and reads the gRPC status in its trailers.
pub(crate) struct Watched {
    inner: MeshBody,
    open: Option<Open>,
}

struct Open {
    call: CallContext,
    guard: Option<Guard>,
}

// === impl Watched ===

impl Watched {
    /// Ties a call, and the attempt that is answered, to the end of a response's body.
    pub(crate) fn wrap(
        response: Response<MeshBody>,
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
        if open.call.is_grpc() && grpc::status(response.headers()).is_none() {
            return response.map(|inner| {
                MeshBody::new(Self {
                    inner,
                    open: Some(open),
                })
            });
        }
        // Nothing to read in the trailers, so holding on until the end is enough.
        response.map(|inner| inner.with_guard(open))
    }

    fn ended(&mut self, ended: Ended, trailers: &HeaderMap) {
        if let Some(mut open) = self.open.take() {
            open.ended(ended, trailers);
        }
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

impl Body for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    let code = grpc::status(trailers).unwrap_or(UNKNOWN);
                    self.ended(Ended::grpc(code), trailers);
                }
            }
            Some(Err(_)) => self.ended(Ended::grpc(UNAVAILABLE), &HeaderMap::new()),
            None => self.open = None,
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
