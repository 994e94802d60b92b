use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::forward::forward_size;
use crate::BoxError;
use crate::transport::ConnInfo;
use crate::upgrade::Lasting;

/// A body that a [`MeshBody`](super::MeshBody) is made of.
pub(super) trait Source: Body<Data = Bytes, Error = BoxError> + Send {
    fn kind(&self) -> &'static str {
        "Boxed"
    }

    /// The whole of it, if it is there already.
    fn buffer(&self) -> Option<Bytes> {
        None
    }

    /// The connection that it comes from.
    fn conn_info(&self) -> Option<&ConnInfo> {
        None
    }
}

/// One buffer that keeps a guard.
pub(super) struct Buffer(pub(super) Bytes);

pin_project! {
    pub(super) struct BoxedError<B> {
        #[pin]
        pub(super) inner: B,
    }
}

// === impl Buffer ===

impl Source for Buffer {
    fn kind(&self) -> &'static str {
        if self.0.is_empty() { "Empty" } else { "Full" }
    }

    fn buffer(&self) -> Option<Bytes> {
        Some(self.0.clone())
    }
}

impl Body for Buffer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let data = std::mem::take(&mut self.0);
        Poll::Ready((!data.is_empty()).then(|| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

// === impl BoxedError ===

impl<B> Source for BoxedError<B>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
}

impl<B> Body for BoxedError<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.project().inner.poll_frame(cx).map_err(Into::into)
    }

    forward_size!(inner);
}

// === impl Lasting ===

impl Source for Lasting {
    fn kind(&self) -> &'static str {
        "Tunnel"
    }

    fn conn_info(&self) -> Option<&ConnInfo> {
        self.info.as_deref()
    }
}
