//! Bounds on how long an HTTP/1 peer may be silent, without a timer per request.
//!
//! hyper's `header_read_timeout` starts when a connection becomes idle, so a value that is right
//! for a slow head (10 s) would also close every pooled connection after 10 s, under the nose of
//! a client that is about to use it. Here the two are apart:
//!
//! ```text
//!   Idle --first byte--> Head --request complete--> Busy --answer sent--> Idle
//!   75 s                 10 s                       (deadlines)
//! ```
//!
//! A timer is only armed when the peer keeps us waiting, and then re-used.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

/// Requests of one connection that are in work.
#[derive(Clone, Default)]
pub(super) struct Busy(Arc<AtomicUsize>);

/// One request in work.
pub(super) struct BusyGuard(Busy);

/// A connection that fails its reads when the peer is too slow.
pub(super) struct Paced<T> {
    io: T,
    busy: Busy,
    head: Duration,
    idle: Duration,
    wait: Wait,
    timer: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Copy)]
enum Wait {
    /// A request is in work, or nothing was read since it ended.
    Busy,
    /// Nothing of the next request has come.
    Idle { since: Instant },
    /// Some of its head has.
    Head { since: Instant },
}

// === impl Busy ===

impl Busy {
    pub(super) fn enter(&self) -> BusyGuard {
        self.0.fetch_add(1, Relaxed);
        BusyGuard(self.clone())
    }

    fn is_busy(&self) -> bool {
        self.0.load(Relaxed) > 0
    }
}

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

// === impl Paced ===

impl<T> Paced<T> {
    /// A new connection counts as one whose head has begun: a peer that connects and says nothing
    /// has the head's time, not the idle one's.
    pub(super) fn new(io: T, busy: Busy, head: Duration, idle: Duration) -> Self {
        Self {
            io,
            busy,
            head,
            idle,
            wait: Wait::Head {
                since: Instant::now(),
            },
            timer: None,
        }
    }

    /// Pending, or the error of a peer that was silent for too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.busy.is_busy() {
            self.wait = Wait::Busy;
            return Poll::Pending;
        }
        let (limit, what) = match self.wait {
            Wait::Busy => {
                let since = Instant::now();
                self.wait = Wait::Idle { since };
                (since + self.idle, "the connection was idle")
            }
            Wait::Idle { since } => (since + self.idle, "the connection was idle"),
            Wait::Head { since } => (since + self.head, "the request's head came too slowly"),
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(limit)));
        if timer.deadline() != limit {
            timer.as_mut().reset(limit);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, what)))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Paced<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        match Pin::new(&mut this.io).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                if buf.filled().len() > before {
                    this.wait = match this.wait {
                        _ if this.busy.is_busy() => Wait::Busy,
                        Wait::Head { since } => Wait::Head { since },
                        _ => Wait::Head {
                            since: Instant::now(),
                        },
                    };
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => this.poll_patience(cx),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Paced<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const HEAD: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(75);

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_speaks_has_the_heads_time() {
        let (_client, server) = duplex(64);
        let start = Instant::now();
        let mut io = Paced::new(server, Busy::default(), HEAD, IDLE);
        let error = io.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), HEAD);
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_does_not_extend_the_head() {
        let (mut client, server) = duplex(64);
        let start = Instant::now();
        let mut io = Paced::new(server, Busy::default(), HEAD, IDLE);
        let drip = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(3)).await;
                if client.write_u8(b'x').await.is_err() {
                    return;
                }
            }
        });
        let error = loop {
            if let Err(error) = io.read_u8().await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), HEAD);
        drip.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_the_peer_has_the_idle_time() {
        let (mut client, server) = duplex(64);
        let busy = Busy::default();
        let mut io = Paced::new(server, busy.clone(), HEAD, IDLE);
        client.write_u8(b'x').await.unwrap();
        io.read_u8().await.unwrap();
        // The head is complete; the handler takes longer than any of the limits.
        let request = busy.enter();
        let handler = tokio::time::timeout(Duration::from_secs(200), io.read_u8()).await;
        assert!(handler.is_err());
        drop(request);
        let start = Instant::now();
        let error = io.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), IDLE);
    }
}
