//! A connection of HTTP/1, shared by hyper, which reads and writes it, and the requests in work, which
//! watch whether the peer is still there.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};

use super::tunnel::Tunnel;
use crate::transport::Lingering;

/// How much of what follows a request is read ahead while it is in work.
const AHEAD: usize = 1024;

/// A connection whose bytes hyper reads through a [`Paced`](super::pace::Paced), while the requests in work watch
/// whether the peer is still there.
pub(super) struct Line<T>(Arc<Shared<T>>);

struct Shared<T> {
    /// Requests in work.
    busy: AtomicUsize,
    /// Requests so far.
    begun: AtomicUsize,
    /// The body of the request in work is still being read: hyper looks for itself.
    reading: Arc<AtomicBool>,
    /// Set once the connection is none of HTTP's any more.
    tunnel: OnceLock<Tunnel>,
    /// Only ever locked by the connection's own task.
    wire: Mutex<Wire<T>>,
}

pub(super) struct Wire<T> {
    pub(super) io: T,
    /// Read while a request was in work; hyper has not asked for it yet.
    pub(super) ahead: BytesMut,
    /// The peer has said all that it will say. That is no reason not to answer it.
    ended: bool,
}

/// One request in work.
pub(super) struct BusyGuard<T>(Line<T>);

// === impl Line ===

impl<T> Line<T> {
    pub(super) fn new(io: T) -> Self {
        Self(Arc::new(Shared {
            busy: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
            reading: Arc::default(),
            tunnel: OnceLock::new(),
            wire: Mutex::new(Wire {
                io,
                ahead: BytesMut::new(),
                ended: false,
            }),
        }))
    }

    pub(super) fn enter(&self) -> BusyGuard<T> {
        self.0.busy.fetch_add(1, Relaxed);
        self.0.begun.fetch_add(1, Relaxed);
        BusyGuard(self.clone())
    }

    /// The connection becomes a tunnel: from now on it may be silent for as long as it likes.
    pub(super) fn unbound(&self, tunnel: Tunnel) {
        self.0.busy.fetch_add(1, Relaxed);
        // There is no second one.
        let _ = self.0.tunnel.set(tunnel);
    }

    /// Whether the request in work has a body that is not read yet. What is read ahead then would be
    /// read in small pieces.
    pub(super) fn reading(&self) -> &Arc<AtomicBool> {
        &self.0.reading
    }

    pub(super) fn tunnel(&self) -> Option<&Tunnel> {
        self.0.tunnel.get()
    }

    /// Requests so far.
    pub(super) fn begun(&self) -> usize {
        self.0.begun.load(Relaxed)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.0.busy.load(Relaxed) > 0
    }

    pub(super) fn wire(&self) -> MutexGuard<'_, Wire<T>> {
        self.0.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: AsyncRead + Unpin> Line<T> {
    /// Ready when the connection is broken: a reset, or TLS that ends without saying so. A peer
    /// that merely closed its half still gets its answer, which is why hyper, told so, does not
    /// look itself.
    pub(super) fn poll_broken(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let mut wire = self.wire();
        let wire = &mut *wire;
        if wire.ended || !wire.ahead.is_empty() {
            return Poll::Pending;
        }
        let mut bytes = [0; AHEAD];
        let mut buf = ReadBuf::new(&mut bytes);
        match ready!(Pin::new(&mut wire.io).poll_read(cx, &mut buf)) {
            Err(error) => Poll::Ready(error),
            Ok(()) => {
                wire.ended = buf.filled().is_empty();
                wire.ahead.extend_from_slice(buf.filled());
                // It may be a body that hyper waits for, and the wake-up was ours.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl<T: AsyncRead + Unpin> Line<T> {
    /// Whether the peer has said more than the head, or that it will not.
    pub(super) fn has_more(&self) -> bool {
        let wire = self.wire();
        wire.ended || !wire.ahead.is_empty()
    }

    /// Ready when the peer has closed its half, or the connection is broken.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if let Poll::Ready(error) = self.poll_broken(cx) {
            return Poll::Ready(error);
        }
        match self.wire().ended {
            true => Poll::Ready(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the client has gone",
            )),
            false => Poll::Pending,
        }
    }
}

impl<T> Line<Lingering<T>> {
    /// Its halves end each by itself.
    pub(super) fn stop_lingering(&self) {
        self.wire().io.stop_lingering();
    }
}

impl<T> Clone for Line<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Drop for BusyGuard<T> {
    fn drop(&mut self) {
        self.0.0.busy.fetch_sub(1, Relaxed);
    }
}
