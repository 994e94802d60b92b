use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use mesh_core::balance::InFlight;
use mesh_core::identity::SpiffeId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::meter::Meter;
use super::record::Record;
use crate::live_view::BackendView;
use crate::tls::Credentials;
use crate::transport::{BoxIo, Kept};

/// Silence after which a connection of bytes ends where the policy has no `streamIdleTimeout`. An
/// hour: longer than the keep-alives of databases and queues, short enough that what a peer has
/// forgotten does not stay for ever (Envoy's tcp_proxy has the same).
const IDLE: Duration = Duration::from_secs(3600);

/// An open connection of bytes to an endpoint. Dropping it ends it.
pub struct TcpConnection {
    /// Before what it counts for: a place is free when the connection is closed.
    io: Option<BoxIo>,
    record: Record,
    backend: Arc<BackendView>,
    credentials: Credentials,
    _in_flight: InFlight,
    _kept: Kept,
}

// === impl TcpConnection ===

impl TcpConnection {
    pub(super) fn new(
        io: BoxIo,
        record: Record,
        backend: Arc<BackendView>,
        credentials: Credentials,
        in_flight: InFlight,
        kept: Kept,
    ) -> Self {
        Self {
            io: Some(io),
            record,
            backend,
            credentials,
            _in_flight: in_flight,
            _kept: kept,
        }
    }

    /// Who the endpoint proved to be; `None` without mutual TLS.
    pub fn peer(&self) -> Option<&SpiffeId> {
        self.record.peer.as_ref()
    }

    /// The endpoint.
    pub fn endpoint(&self) -> SocketAddr {
        self.record.to
    }

    pub(super) fn record_mut(&mut self) -> &mut Record {
        &mut self.record
    }

    pub(super) fn meter(&self) -> Arc<Meter> {
        self.record.meter().clone()
    }

    pub(super) fn take_io(&mut self) -> BoxIo {
        self.io
            .take()
            .unwrap_or_else(|| Box::new(tokio::io::empty()))
    }

    pub(super) fn idle(&self) -> Duration {
        self.backend.policy().stream_idle().unwrap_or(IDLE)
    }

    /// Resolves when the endpoint's trust domain is not trusted any more.
    pub(super) fn revoked(&self) -> impl Future<Output = ()> + Send + 'static {
        let credentials = self.credentials.clone();
        let peer = self.record.peer.clone();
        async move {
            let Some(peer) = peer else {
                return std::future::pending().await;
            };
            loop {
                // Before the look, so that no change falls between the two.
                let changed = credentials.changed();
                let trust = credentials.trust();
                if !trust.domains().any(|domain| domain == peer.trust_domain()) {
                    return;
                }
                drop(trust);
                changed.await;
            }
        }
    }
}

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl AsyncRead for TcpConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Some(io) = &mut this.io else {
            return Poll::Ready(Err(gone()));
        };
        let before = buf.filled().len();
        let read = Pin::new(io).poll_read(cx, buf);
        if read.is_ready() {
            this.record
                .meter()
                .add_received(buf.filled().len() - before);
        }
        read
    }
}

impl AsyncWrite for TcpConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let Some(io) = &mut this.io else {
            return Poll::Ready(Err(gone()));
        };
        let written = Pin::new(io).poll_write(cx, buf);
        if let Poll::Ready(Ok(n)) = &written {
            this.record.meter().add_sent(*n);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Some(io) => Pin::new(io).poll_flush(cx),
            None => Poll::Ready(Err(gone())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Some(io) => Pin::new(io).poll_shutdown(cx),
            None => Poll::Ready(Err(gone())),
        }
    }
}

impl std::fmt::Debug for TcpConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TcpConnection")
            .field("endpoint", &self.record.to)
            .field("peer", &self.record.peer)
            .finish_non_exhaustive()
    }
}
