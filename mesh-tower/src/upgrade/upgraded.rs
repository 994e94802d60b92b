use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Response, StatusCode};
use http_body::Body;
use mesh_core::error::{ErrorKind, MeshError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Life;
use crate::body::MeshBody;
use crate::transport::{BoxIo, given, reset};

/// The client's end of a tunnel. It is the call: its place and its load are given back when it is
/// dropped, and it fails when the call does (an idle timeout).
pub struct Upgraded {
    io: BoxIo,
    /// `None`: it has ended, and the tunnel with it.
    call: Option<MeshBody>,
    life: Life,
}

/// The tunnel that an answer with status 101 stands for.
///
/// ```no_run
/// # async fn run(mut client: mesh_tower::MeshClient) -> Result<(), mesh_tower::MeshError> {
/// use tower_service::Service as _;
///
/// let request = http::Request::get("http://chat.shop/")
///     .header("connection", "upgrade")
///     .header("upgrade", "chat")
///     .body(mesh_tower::MeshBody::empty())
///     .unwrap();
/// let tunnel = mesh_tower::upgrade::on(client.call(request).await?).await?;
/// # drop(tunnel); Ok(()) }
/// ```
///
/// # Errors
///
/// Kind Protocol if the answer is no 101 to a request that asked for one.
pub fn on(
    response: Response<MeshBody>,
) -> impl Future<Output = Result<Upgraded, MeshError>> + Send {
    let mut response = response;
    let status = response.status();
    let upgrade = hyper::upgrade::on(&mut response);
    let life = response.extensions_mut().remove::<Life>();
    let call = response.into_body();
    async move {
        let not = |what| MeshError::new(ErrorKind::Protocol, what);
        let (StatusCode::SWITCHING_PROTOCOLS, Some(life)) = (status, life) else {
            return Err(not("the answer does not switch protocols"));
        };
        let io = upgrade.await.map_err(|error| {
            not("the connection broke while it switched protocols").with_source(error)
        })?;
        Ok(Upgraded {
            io: given(io),
            call: Some(call),
            life,
        })
    }
}

// === impl Upgraded ===

impl Upgraded {
    /// Ends it so that the service sees it broken off: plaintext by a reset, TLS by an end without
    /// close_notify. Dropped in any other way it ends in order.
    pub fn abort(self) {
        reset(&self.io);
    }

    /// Nothing has come: looks whether the call may go on.
    fn poll_call(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(call) = &mut self.call else {
            return Poll::Ready(over());
        };
        loop {
            match Pin::new(&mut *call).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(ended) => {
                    self.call = None;
                    return Poll::Ready(match ended {
                        Some(Err(error)) => io::Error::new(io::ErrorKind::TimedOut, error),
                        _ => over(),
                    });
                }
            }
        }
    }

    fn moved(&self, ready: bool) {
        if ready {
            self.life.moved();
        }
    }
}

fn over() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the call is over")
}

impl AsyncRead for Upgraded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.call.is_none() {
            return Poll::Ready(Err(over()));
        }
        match Pin::new(&mut this.io).poll_read(cx, buf) {
            Poll::Pending => this.poll_call(cx).map(Err),
            ready => {
                this.life.moved();
                ready
            }
        }
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.call.is_none() {
            return Poll::Ready(Err(over()));
        }
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.moved(written.is_ready());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.call.is_none() {
            return Poll::Ready(Err(over()));
        }
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.moved(written.is_ready());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl Drop for Upgraded {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            self.life.end(call);
        }
    }
}

impl std::fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upgraded")
            .field("over", &self.call.is_none())
            .finish_non_exhaustive()
    }
}
