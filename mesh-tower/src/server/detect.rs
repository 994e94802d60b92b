//! Which protocol a connection speaks, by its first bytes, which are then read again.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::transport::{BoxIo, forward_writes};

/// What an HTTP/2 client says first (RFC 9113 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// With the head of the frame that must follow: SETTINGS.
const BEGUN: usize = PREFACE.len() + 9;
/// The type byte of a TLS record that holds a handshake (RFC 8446 5.1).
const HANDSHAKE: u8 = 0x16;

/// A connection some of whose first bytes were read already.
pub(super) struct Rewind<T> {
    io: T,
    bytes: [u8; BEGUN],
    start: usize,
    end: usize,
}

/// What a peer speaks inside TLS, or without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Http {
    One,
    Two,
}

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    Tls,
    Other,
    /// It ended without a byte, as those do that only look whether the port is open.
    Nothing,
}

/// Waits for the first byte: is it TLS?
pub(super) async fn first(io: BoxIo) -> io::Result<(First, Rewind<BoxIo>)> {
    let mut io = Rewind::new(io);
    let got = io.fill().await?;
    Ok((io.first(got), io))
}

/// The same for bytes, where the server may be the one to speak first: a client of the mesh begins
/// its handshake at once, so who is silent for `wait` is none.
pub(super) async fn first_within(io: BoxIo, wait: Duration) -> io::Result<(First, Rewind<BoxIo>)> {
    let mut io = Rewind::new(io);
    let first = match tokio::time::timeout(wait, io.fill()).await {
        Ok(got) => io.first(got?),
        Err(_) => First::Other,
    };
    Ok((first, io))
}

/// Reads until the bytes differ from HTTP/2's preface, or are it. A connection that ends before is
/// left to HTTP/1, which answers to what there is.
pub(super) async fn http<T: AsyncRead + Unpin>(io: T) -> io::Result<(Http, Rewind<T>)> {
    let mut io = Rewind::new(io);
    loop {
        let got = io.fill().await?;
        let seen = &io.bytes[..io.end.min(PREFACE.len())];
        let whole = seen.len() == PREFACE.len();
        if !PREFACE.starts_with(seen) || (got == 0 && !whole) {
            return Ok((Http::One, io));
        }
        if got == 0 || io.end == BEGUN {
            return Ok((Http::Two, io));
        }
    }
}

/// The same where TLS has agreed on HTTP/2: waits for as much, since a peer that says nothing after
/// its handshake has nobody else to bound it.
pub(super) async fn two<T: AsyncRead + Unpin>(io: T) -> io::Result<Rewind<T>> {
    let mut io = Rewind::new(io);
    while io.end < BEGUN && io.fill().await? > 0 {}
    Ok(io)
}

// === impl Rewind ===

impl<T> Rewind<T> {
    pub(super) fn new(io: T) -> Self {
        Self {
            io,
            bytes: [0; BEGUN],
            start: 0,
            end: 0,
        }
    }

    pub(super) fn get_ref(&self) -> &T {
        &self.io
    }

    /// What it begins with, after a first read of that many bytes.
    fn first(&self, got: usize) -> First {
        match got {
            0 => First::Nothing,
            _ if self.bytes[0] == HANDSHAKE => First::Tls,
            _ => First::Other,
        }
    }
}

impl<T: AsyncRead + Unpin> Rewind<T> {
    /// Reads once more into what will be read again.
    async fn fill(&mut self) -> io::Result<usize> {
        let got = self.io.read(&mut self.bytes[self.end..]).await?;
        self.end += got;
        Ok(got)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Rewind<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.start < this.end {
            let take = buf.remaining().min(this.end - this.start);
            buf.put_slice(&this.bytes[this.start..this.start + take]);
            this.start += take;
            return Poll::Ready(Ok(()));
        }
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Rewind<T> {
    forward_writes!();

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn detect(sent: &[&[u8]]) -> (Http, Vec<u8>) {
        let (mut client, server) = tokio::io::duplex(1024);
        let sent: Vec<Vec<u8>> = sent.iter().map(|part| part.to_vec()).collect();
        let writer = tokio::spawn(async move {
            for part in sent {
                client.write_all(&part).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let (found, mut io) = http(server).await.unwrap();
        writer.await.unwrap();
        let mut all = Vec::new();
        io.read_to_end(&mut all).await.unwrap();
        (found, all)
    }

    #[tokio::test]
    async fn the_preface_in_pieces_is_http2_and_is_read_again() {
        let (found, all) = detect(&[b"PRI * HT", b"TP/2.0\r\n\r\nSM\r\n\r\n", b"more"]).await;
        assert_eq!(found, Http::Two);
        assert_eq!(all, [PREFACE, b"more"].concat());
    }

    #[tokio::test]
    async fn what_only_starts_like_the_preface_is_http1() {
        let sent: &[u8] = b"PRI /x HTTP/1.1\r\nhost: a\r\n\r\n";
        assert_eq!(detect(&[sent]).await, (Http::One, sent.to_vec()));
        assert_eq!(detect(&[b"GET"]).await, (Http::One, b"GET".to_vec()));
        assert_eq!(detect(&[]).await, (Http::One, Vec::new()));
    }
}
