use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_core::future::BoxFuture;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};

use super::BoxIo;

/// Opens byte streams. Behind a trait so that the whole stack runs in a simulated network.
pub trait Connect: Send + Sync + 'static {
    /// Connects to `addr`. Dropping the future gives up. Time limits are the caller's.
    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<BoxIo>>;
}

/// Plain TCP, with `TCP_NODELAY` and keep-alive probes.
#[derive(Clone, Copy, Debug)]
pub struct TcpConnect {
    keepalive: Option<Duration>,
    mark: Option<u32>,
}

// === impl TcpConnect ===

impl TcpConnect {
    /// Probes after 30 s of silence: below the 60 s after which many NATs forget a connection.
    pub const fn new() -> Self {
        Self {
            keepalive: Some(Duration::from_secs(30)),
            mark: None,
        }
    }

    /// Marks each connection (`SO_MARK`), so that a firewall's rules can tell it: those that redirect
    /// others must leave it alone. Needs `CAP_NET_ADMIN`.
    #[must_use]
    pub const fn with_mark(mut self, mark: u32) -> Self {
        self.mark = Some(mark);
        self
    }

    /// Silence before the first probe; `None` for no probes.
    #[must_use]
    pub const fn with_keepalive(mut self, after: Option<Duration>) -> Self {
        self.keepalive = after;
        self
    }
}

impl Default for TcpConnect {
    fn default() -> Self {
        Self::new()
    }
}

impl Connect for TcpConnect {
    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<BoxIo>> {
        let Self { keepalive, mark } = *self;
        Box::pin(async move {
            let stream = match mark {
                None => TcpStream::connect(addr).await?,
                Some(mark) => {
                    let socket = match addr {
                        SocketAddr::V4(_) => TcpSocket::new_v4()?,
                        SocketAddr::V6(_) => TcpSocket::new_v6()?,
                    };
                    #[cfg(target_os = "linux")]
                    SockRef::from(&socket).set_mark(mark)?;
                    socket.connect(addr).await?
                }
            };
            stream.set_nodelay(true)?;
            if let Some(after) = keepalive {
                let probes = TcpKeepalive::new()
                    .with_time(after)
                    .with_interval(after / 3);
                SockRef::from(&stream).set_tcp_keepalive(&probes)?;
            }
            let io: BoxIo = Box::new(stream);
            Ok(io)
        })
    }
}
