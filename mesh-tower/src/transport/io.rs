use std::any::Any;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::tunnelled::Tunnelled;

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

/// Ends a stream so that its peer sees it broken off: plaintext by a reset, TLS by an end without
/// close_notify.
pub fn abort(io: BoxIo) {
    reset(&io);
}

/// The same once the stream is dropped.
pub(crate) fn reset(io: &BoxIo) {
    let any = (**io).as_any();
    if let Some(stream) = any.downcast_ref::<TcpStream>() {
        // Fails only on a connection that is gone already.
        let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
    } else if let Some(tunnel) = any.downcast_ref::<Tunnelled>() {
        tunnel.reset();
    }
}
