use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_core::future::BoxFuture;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

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
}

// === impl TcpConnect ===

impl TcpConnect {
    /// Probes after 30 s of silence: below the 60 s after which many NATs forget a connection.
    pub const fn new() -> Self {
        Self {
            keepalive: Some(Duration::from_secs(30)),
        }
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
        let keepalive = self.keepalive;
        Box::pin(async move {
            let stream = TcpStream::connect(addr).await?;
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
