use std::any::Any;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A byte stream: TCP, TLS over it, or a simulated one.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// The stream as what it is, for those who can do more with one kind of it.
    fn as_any(&self) -> &dyn Any;
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Any byte stream. Which one is decided at run time (plaintext, TLS, simulated), so the HTTP code
/// is compiled once.
pub type BoxIo = Box<dyn Io>;

/// The TCP socket that this is, unless it is something else.
fn tcp(io: &BoxIo) -> Option<&TcpStream> {
    (**io).as_any().downcast_ref()
}

/// Ends a stream so that its peer sees it broken off: plaintext by a reset, TLS by an end without
/// close_notify.
pub(crate) fn abort(io: BoxIo) {
    if let Some(stream) = tcp(&io) {
        // Fails only on a connection that is gone already.
        let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
    }
}
