//! How connections end without taking answers with them.
//!
//! A kernel that is told to close a connection on which unread bytes are waiting, or to which more
//! bytes come, answers with a reset. The peer's next write then fails, and HTTP/2 code that meets a
//! failed write gives up all streams, those too whose answers lie in its receive buffer. It takes
//! no mistake to get there: a request's body may be on its way when its answer is complete, and a
//! server that is told to finish closes as soon as all answers are written. So
//!
//! - a server that has closed its half reads on until the client has closed too ([`Lingering`];
//!   RFC 9112 section 9.6 asks for it), and
//! - a client whose write fails reads on until there is nothing more ([`ReadsOn`]).

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::forward_writes;

/// Longest wait for the other half: a round trip and a scheduling delay, with room.
const LINGER: Duration = Duration::from_secs(2);

/// A server's end of a connection.
pub(crate) struct Lingering<T> {
    io: T,
    /// Since its own half is closed.
    until: Option<Pin<Box<Sleep>>>,
    /// Somebody else reads what the other half brings.
    halves: bool,
}

/// A client's end of a connection.
pub(super) struct ReadsOn<T> {
    io: T,
    /// A write has failed: what is written goes nowhere.
    broken: bool,
}

/// A stream that keeps something until it is dropped.
pub(super) struct Keeps<T, K> {
    pub(super) io: T,
    pub(super) _kept: K,
}

// === impl Keeps ===

impl<T: AsyncRead + Unpin, K: Unpin> AsyncRead for Keeps<T, K> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin, K: Unpin> AsyncWrite for Keeps<T, K> {
    forward_writes!();

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

// === impl Lingering ===

impl<T> Lingering<T> {
    pub(crate) fn new(io: T) -> Self {
        Self {
            io,
            until: None,
            halves: false,
        }
    }

    pub(crate) fn get_ref(&self) -> &T {
        &self.io
    }

    /// The connection becomes a tunnel, whose halves end each by itself.
    pub(crate) fn stop_lingering(&mut self) {
        self.halves = true;
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lingering<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<T> {
    forward_writes!();

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.halves {
            return Pin::new(&mut this.io).poll_shutdown(cx);
        }
        let until = match &mut this.until {
            Some(until) => until,
            None => {
                ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
                this.until.insert(Box::pin(tokio::time::sleep(LINGER)))
            }
        };
        let mut bytes = [0; 1024];
        // A peer that sends without end gets its turn with the others, and no more time.
        for _ in 0..16 {
            if until.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut rest = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut this.io).poll_read(cx, &mut rest)) {
                Ok(()) if !rest.filled().is_empty() => {}
                // It has closed too, one way or the other.
                _ => return Poll::Ready(Ok(())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

// === impl ReadsOn ===

impl<T> ReadsOn<T> {
    pub(super) fn new(io: T) -> Self {
        Self { io, broken: false }
    }

    /// What to say of a write: if it failed, that it went well, since reading will tell.
    fn written(&mut self, written: io::Result<usize>, all: usize) -> io::Result<usize> {
        match written {
            Err(error) if is_end(&error) => {
                self.broken = true;
                Ok(all)
            }
            written => written,
        }
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

impl<T: AsyncRead + Unpin> AsyncRead for ReadsOn<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for ReadsOn<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.broken {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf));
        Poll::Ready(self.written(written, buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = bufs.iter().map(|buf| buf.len()).sum();
        if self.broken {
            return Poll::Ready(Ok(all));
        }
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs));
        Poll::Ready(self.written(written, all))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.broken {
            return Poll::Ready(Ok(()));
        }
        let flushed = ready!(Pin::new(&mut self.io).poll_flush(cx));
        Poll::Ready(self.written(flushed.map(|()| 0), 0).map(drop))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.broken {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let addr = listener.local_addr().expect("an address");
        let (client, server) = tokio::join!(TcpStream::connect(addr), listener.accept());
        (
            client.expect("a connection"),
            server.expect("a connection").0,
        )
    }

    #[tokio::test]
    async fn a_server_that_closes_reads_on_so_that_its_answer_arrives() {
        let (mut client, server) = pair().await;
        let mut server = Lingering::new(server);
        // Sent before the server closes, and never asked for.
        client.write_all(&[1; 5000]).await.expect("written");
        let closed = tokio::spawn(async move {
            server.write_all(b"the answer").await.expect("written");
            server.shutdown().await.expect("shut down");
        });
        let mut answer = [0; 10];
        client.read_exact(&mut answer).await.expect("the answer");
        // Bytes that were on their way do no harm either.
        client.write_all(&[1; 5000]).await.expect("no reset yet");
        assert_eq!(client.read(&mut answer).await.expect("an end, no reset"), 0);
        drop(client);
        closed.await.expect("it ends with its client");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_closes_is_not_waited_for_long() {
        let (_client, server) = tokio::io::duplex(64);
        let began = tokio::time::Instant::now();
        Lingering::new(server).shutdown().await.expect("shut down");
        assert_eq!(began.elapsed(), LINGER);
    }

    #[tokio::test]
    async fn a_client_whose_write_fails_reads_what_there_is() {
        let (client, mut server) = pair().await;
        let mut client = ReadsOn::new(client);
        server.write_all(b"the answer").await.expect("written");
        client.write_all(b"unread").await.expect("written");
        server.readable().await.expect("it is there");
        // Unread bytes make this a reset.
        drop(server);
        let began = Instant::now();
        while !client.broken {
            client.write_all(b"more").await.expect("said to be written");
            tokio::task::yield_now().await;
            assert!(began.elapsed() < Duration::from_secs(20), "no write failed");
        }
        let mut answer = [0; 10];
        client.read_exact(&mut answer).await.expect("the answer");
        assert_eq!(&answer, b"the answer");
        assert!(matches!(client.read(&mut answer).await, Ok(0) | Err(_)));
    }
}
