//! The bytes of a tunnel, as a stream that can still be reset.
//!
//! A tunnel that one side breaks off must not look whole to the other: it gets a reset and no FIN.
//! What hyper hands out for a tunnel hides the socket, unless it is asked by the name of the type
//! that it was given.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{BoxIo, forward_writes};

/// A stream over a socket that it can reset.
pub(crate) trait Resets: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// From now on the socket ends by a reset.
    fn reset(&self);
}

/// What a connection carries once it is a tunnel.
pub(super) struct Tunnelled {
    /// Read before hyper knew.
    first: Bytes,
    io: Box<dyn Resets>,
}

/// The bytes of a connection of `T`. One of another kind (a stream of HTTP/2, which is reset when it is
/// dropped) is passed on as it is.
pub(crate) fn tunnelled<T: Resets>(upgraded: Upgraded) -> BoxIo {
    match upgraded.downcast::<TokioIo<T>>() {
        Ok(parts) => Box::new(Tunnelled {
            first: parts.read_buf,
            io: Box::new(parts.io.into_inner()),
        }),
        Err(upgraded) => Box::new(TokioIo::new(upgraded)),
    }
}

// === impl Tunnelled ===

impl Tunnelled {
    pub(super) fn reset(&self) {
        self.io.reset();
    }
}

impl AsyncRead for Tunnelled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let take = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first[..take]);
        self.first.advance(take);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnelled {
    forward_writes!();

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
