use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream: TCP, TLS over it, or a simulated one.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Any byte stream. Which one is decided at run time (plaintext, TLS, simulated), so the HTTP code
/// is compiled once.
pub type BoxIo = Box<dyn Io>;
