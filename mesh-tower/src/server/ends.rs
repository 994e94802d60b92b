//! Answers whose ends hyper does not treat as a proxy has to.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body::{Body, Frame, SizeHint};

use super::{dispatch::Wire, line::Line};
use crate::BoxError;
use crate::body::{MeshBody, forward_size};

/// Whether an answer has no end of its own: the client ends it, and says so by closing. Others that
/// close their half may still wait for the answer (`nc`, and HTTP/1.0 programs), so that only here it
/// counts as having gone.
pub(crate) fn is_endless(headers: &HeaderMap) -> bool {
    let events = b"text/event-stream";
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let kind = value.as_bytes().get(..events.len());
        kind.is_some_and(|kind| kind.eq_ignore_ascii_case(events))
    })
}

/// The body of such an answer.
pub(super) struct Endless {
    inner: MeshBody,
    line: Line<Wire>,
}

/// Says a length, and is never read: that of a 304, which hyper writes only for a body.
pub(super) struct Phantom(u64);

// === impl Endless ===

impl Endless {
    pub(super) fn new(inner: MeshBody, line: Line<Wire>) -> Self {
        Self { inner, line }
    }
}

impl Body for Endless {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        let error = ready!(this.line.poll_gone(cx));
        Poll::Ready(Some(Err(error.into())))
    }

    forward_size!(inner);
}

// === impl Phantom ===

impl Phantom {
    /// For an answer that would have had a body of this length, had it not been asked for otherwise.
    pub(super) fn of(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        if status != StatusCode::NOT_MODIFIED {
            return None;
        }
        let length = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
        length.parse().ok().map(Self)
    }
}

impl Body for Phantom {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.0 == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}
