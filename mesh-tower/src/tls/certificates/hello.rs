//! The beginning of a handshake: read until it is known whom the client asks for.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use mesh_core::policy::model::TlsVersion;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::StartHandshake;

use super::Served;
use crate::tls::TlsFailure;
use crate::transport::{BoxIo, forward_writes};

/// Most bytes of a ClientHello. One with a post-quantum key share is 2 KiB, one with a session's ticket
/// not much more; rustls would keep 64 of each stranger.
const MOST: usize = 16 * 1024;
/// The record of a fatal alert `unrecognized_name` (RFC 6066 3), which rustls has no way to send.
const UNRECOGNIZED_NAME: [u8; 7] = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 112];

/// A client that has said whom it asks for.
pub(crate) struct Hello {
    start: StartHandshake<Recorded>,
    name: Option<String>,
}

/// A handshake that is done.
pub(crate) struct Greeted {
    pub(crate) io: BoxIo,
    pub(crate) alpn: Option<Vec<u8>>,
}

/// Bounds what is read before the handshake goes on, and keeps it where it may be wanted.
struct Recorded {
    io: BoxIo,
    /// Bytes that may still be read; `None` once the ClientHello is there.
    left: Option<usize>,
    seen: Option<Vec<u8>>,
}

/// Reads a ClientHello; with `keep` it can be passed on untouched. Whoever calls bounds the time.
pub(crate) async fn hello(io: BoxIo, keep: bool) -> Result<Hello, TlsFailure> {
    let io = Recorded {
        io,
        left: Some(MOST),
        seen: keep.then(Vec::new),
    };
    let start = LazyConfigAcceptor::new(Acceptor::default(), io)
        .await
        .map_err(|error| TlsFailure::of_io(&error))?;
    let name = {
        let hello = start.client_hello();
        hello.server_name().map(str::to_ascii_lowercase)
    };
    Ok(Hello { start, name })
}

// === impl Hello ===

impl Hello {
    /// The server that it asks for (SNI), in lower case.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Goes on with the handshake.
    pub(crate) async fn accept(
        mut self,
        served: &Served,
        least: TlsVersion,
    ) -> Result<Greeted, TlsFailure> {
        self.start.io.left = None;
        self.start.io.seen = None;
        let stream = self.start.into_stream(served.config(least)?).await;
        let stream = stream.map_err(|error| TlsFailure::of_io(&error))?;
        let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        Ok(Greeted {
            io: Box::new(stream),
            alpn,
        })
    }

    /// Tells the client that nobody of that name is here.
    pub(crate) async fn refuse(self) {
        let mut io = self.start.io.io;
        // Who does not read that is not told it.
        if io.write_all(&UNRECOGNIZED_NAME).await.is_ok() {
            let _ = io.shutdown().await;
        }
    }

    /// The connection, and what was read of it.
    pub(crate) fn into_bytes(self) -> (Vec<u8>, BoxIo) {
        let Recorded { io, seen, .. } = self.start.io;
        (seen.unwrap_or_default(), io)
    }
}

// === impl Recorded ===

impl AsyncRead for Recorded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        if let Some(left) = &mut this.left {
            let Some(now) = left.checked_sub(read.len()) else {
                let what = "a ClientHello of more than 16 KiB";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, what)));
            };
            *left = now;
        }
        if let Some(seen) = &mut this.seen {
            seen.extend_from_slice(read);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Recorded {
    forward_writes!();

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
