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
            first: unless_empty(parts.read_buf),
            io: Box::new(parts.io.into_inner()),
        }),
        Err(upgraded) => Box::new(TokioIo::new(upgraded)),
    }
}

/// An empty part keeps all of hyper's buffer, 16 KiB, for as long as the tunnel lasts.
fn unless_empty(bytes: Bytes) -> Bytes {
    match bytes.is_empty() {
        true => Bytes::new(),
        false => bytes,
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
        self.first = unless_empty(std::mem::take(&mut self.first));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnelled {
    forward_writes!();

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    impl Resets for DuplexStream {
        fn reset(&self) {}
    }

    /// hyper's buffer, and who else has it.
    struct Buffer {
        bytes: &'static [u8],
        _held: Arc<()>,
    }

    impl AsRef<[u8]> for Buffer {
        fn as_ref(&self) -> &[u8] {
            self.bytes
        }
    }

    #[tokio::test]
    async fn what_was_read_before_comes_first_and_its_buffer_is_let_go() {
        let held = Arc::new(());
        let buffer = |bytes| {
            Bytes::from_owner(Buffer {
                bytes,
                _held: held.clone(),
            })
        };
        let (near, mut far) = duplex(64);
        let mut io = Tunnelled {
            first: buffer(b"first"),
            io: Box::new(near),
        };
        far.write_all(b", then").await.unwrap();
        let mut read = [0; 11];
        io.read_exact(&mut read[..3]).await.unwrap();
        assert_eq!(Arc::strong_count(&held), 2, "let go too soon");
        io.read_exact(&mut read[3..]).await.unwrap();
        assert_eq!(&read, b"first, then");
        assert_eq!(Arc::strong_count(&held), 1, "kept for nothing");

        assert!(unless_empty(buffer(b"")).is_empty());
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
