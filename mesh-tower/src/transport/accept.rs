use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;

use super::BoxIo;

/// Takes byte streams in. Behind a trait so that the whole stack runs in a simulated network.
pub trait Accept: Send + 'static {
    /// The next connection and where it comes from.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(BoxIo, SocketAddr)>>;

    /// Where it listens.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Told before the first connection that what is carried is bytes, which may be silent for long:
    /// peers that are gone have to be found by other means.
    fn for_bytes(&mut self) {}
}

/// A TCP listener. Accepted streams have `TCP_NODELAY`.
#[derive(Debug)]
pub struct TcpAccept {
    listener: TcpListener,
    bytes: bool,
}

/// Opens a listener, to be handed to a runtime later ([`TcpAccept::from_std`]).
///
/// # Errors
///
/// As [`TcpAccept::bind`].
pub fn listen(addr: SocketAddr, options: AcceptOptions) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // Restarting must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// Silence after which a peer is asked whether it is there; three answers missing end the
/// connection. Bytes may be silent for long, and nothing else finds out that a peer is gone.
const PROBE_AFTER: Duration = Duration::from_secs(30);

/// How a listener is opened.
#[derive(Clone, Copy, Debug)]
pub struct AcceptOptions {
    /// `SO_REUSEPORT`: several listeners (one per worker) share one port and the kernel spreads
    /// connections over them.
    pub reuse_port: bool,
    /// Connections that the kernel holds before they are accepted.
    pub backlog: u32,
}

// === impl TcpAccept ===

impl TcpAccept {
    /// Listens on `addr`; port 0 takes a free one. Must run inside a runtime.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AddrInUse`] when the port is taken, or the system's own.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        Self::bind_with(addr, AcceptOptions::default())
    }

    /// Listens with options.
    ///
    /// # Errors
    ///
    /// As [`TcpAccept::bind`].
    pub fn bind_with(addr: SocketAddr, options: AcceptOptions) -> io::Result<Self> {
        Self::from_std(listen(addr, options)?)
    }

    /// Takes over a listener that somebody else opened.
    ///
    /// # Errors
    ///
    /// If the socket cannot be registered with the runtime.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener).map(Self::from)
    }
}

impl From<TcpListener> for TcpAccept {
    fn from(listener: TcpListener) -> Self {
        Self {
            listener,
            bytes: false,
        }
    }
}

impl Accept for TcpAccept {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(BoxIo, SocketAddr)>> {
        let (stream, remote) = ready!(self.listener.poll_accept(cx))?;
        // Fails only on a connection that is gone already: its first read says so.
        let _ = stream.set_nodelay(true);
        if self.bytes {
            let probes = TcpKeepalive::new()
                .with_time(PROBE_AFTER)
                .with_interval(PROBE_AFTER / 3);
            let _ = SockRef::from(&stream).set_tcp_keepalive(&probes);
        }
        Poll::Ready(Ok((Box::new(stream), remote)))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    fn for_bytes(&mut self) {
        self.bytes = true;
    }
}

// === impl AcceptOptions ===

impl Default for AcceptOptions {
    /// 1024: a burst of reconnects after a restart must not meet refused connections.
    fn default() -> Self {
        Self {
            reuse_port: false,
            backlog: 1024,
        }
    }
}
