//! The head of a request and the body behind it, in one write.
//!
//! h2 gives a stream no room for its body before its head is written, so that even a body that is there
//! already comes a moment later, by another task: two writes, two TLS records, and a peer that is woken
//! twice. Where calls come one by one that is a quarter of what one costs. Here a head that is to be
//! followed waits for one turn of the runtime, in which the body's task runs.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The head of a frame (RFC 9113 4.1).
const FRAME: usize = 9;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
/// What is written is kept up to here; above it nothing is gained by a copy.
const KEPT: usize = 8 * 1024;

/// The client's end of an HTTP/2 connection.
pub(super) struct Coalesced<T> {
    io: T,
    kept: Vec<u8>,
    /// How much of it is written.
    at: usize,
    /// The turn was given.
    waited: bool,
}

/// Whether the last frame of `bytes`, which begin with one, opens a stream that goes on.
fn is_to_be_followed(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let mut follows = false;
    while let Some(head) = rest.get(..FRAME) {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        follows = head[3] == HEADERS && head[4] & END_STREAM == 0;
        match rest.get(FRAME + length..) {
            Some(next) => rest = next,
            // A frame that is written in pieces.
            None => return false,
        }
    }
    follows
}

// === impl Coalesced ===

impl<T> Coalesced<T> {
    pub(super) fn new(io: T) -> Self {
        Self {
            io,
            kept: Vec::new(),
            at: 0,
            waited: false,
        }
    }
}

impl<T: AsyncWrite + Unpin> Coalesced<T> {
    /// Writes what is kept.
    fn poll_kept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.at < self.kept.len() {
            let wrote = ready!(Pin::new(&mut self.io).poll_write(cx, &self.kept[self.at..]))?;
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.at += wrote;
        }
        self.kept.clear();
        self.at = 0;
        self.waited = false;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Coalesced<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Coalesced<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.kept.len() + buf.len() <= KEPT {
            self.kept.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        ready!(self.poll_kept(cx))?;
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.waited && self.at == 0 && is_to_be_followed(&self.kept) {
            self.waited = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.poll_kept(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_kept(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = bufs.iter().map(|buf| buf.len()).sum();
        if self.kept.len() + length <= KEPT {
            for buf in bufs {
                self.kept.extend_from_slice(buf);
            }
            return Poll::Ready(Ok(length));
        }
        ready!(self.poll_kept(cx))?;
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn frame(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
        let length = u8::try_from(body.len()).unwrap();
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.extend_from_slice(body);
        frame
    }

    #[test]
    fn only_an_open_head_at_the_end_is_waited_for() {
        let (open, whole) = (frame(HEADERS, 4, b"head"), frame(HEADERS, 5, b"head"));
        let data = frame(0, 1, b"data");
        assert!(is_to_be_followed(&open));
        assert!(is_to_be_followed(&[data.clone(), open.clone()].concat()));
        assert!(!is_to_be_followed(&whole) && !is_to_be_followed(&data));
        assert!(!is_to_be_followed(&[open.clone(), data].concat()));
        assert!(!is_to_be_followed(&open[..open.len() - 1]));
        assert!(!is_to_be_followed(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
        assert!(!is_to_be_followed(b""));
    }

    #[tokio::test]
    async fn head_and_body_are_one_write_and_nothing_is_held_back() {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let mut io = Coalesced::new(near);
        let (head, data) = (frame(HEADERS, 4, b"head"), frame(0, 1, b"data"));
        io.write_all(&head).await.unwrap();
        let first = poll_fn(|cx| Poll::Ready(Pin::new(&mut io).poll_flush(cx))).await;
        assert!(first.is_pending());
        io.write_all(&data).await.unwrap();
        io.flush().await.unwrap();
        let mut got = [0; 64];
        let length = far.read(&mut got).await.unwrap();
        assert_eq!(got[..length], [head.clone(), data].concat());
        // Nothing follows: it goes all the same, and so does what is large.
        io.write_all(&head).await.unwrap();
        io.flush().await.unwrap();
        let length = far.read(&mut got).await.unwrap();
        assert_eq!(got[..length], head);
        io.write_all(&head).await.unwrap();
        io.write_all(&[b'x'; KEPT]).await.unwrap();
        io.shutdown().await.unwrap();
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), head.len() + KEPT);
    }
}
