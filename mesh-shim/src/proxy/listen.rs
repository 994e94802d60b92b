//! A plaintext listener for the application: HTTP/1.1, and HTTP/2 with prior knowledge.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use mesh_tower::body::MeshBody;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A peer that sends no request head for this long is let go.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
const MAX_FIELDS: usize = 100;
const MAX_FIELD_BYTES: usize = 64 * 1024;
const MAX_STREAMS: u32 = 250;
/// Resets of one connection that wait for us, beyond which it is closed (rapid reset).
const MAX_RESETS: usize = 64;
/// After an accept that failed (out of descriptors): the loop must not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const BACKLOG: i32 = 1024;

/// Whether a port may be opened more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    No,
    /// `SO_REUSEPORT`: each worker accepts by itself.
    Workers,
}

/// Opens one listener.
pub(crate) fn bind(addr: SocketAddr, share: Share) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share == Share::Workers)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Answers a request of the application, whatever happens.
pub(crate) trait Answer: Clone + Send + Sync + 'static {
    /// Errors become answers with their code.
    fn answer(
        self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<MeshBody>> + Send + 'static;
}

/// Serves connections until `stop`, then lets those in flight end.
pub(crate) async fn serve<A: Answer>(listener: TcpListener, answer: A, stop: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, answer.clone(), stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed on a local listener");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn connection<A: Answer>(stream: TcpStream, answer: A, stop: CancellationToken) {
    // Small answers must not wait for a full segment.
    let _ = stream.set_nodelay(true);
    let spoken = Arc::new(AtomicBool::new(false));
    let speaks = spoken.clone();
    let service = hyper::service::service_fn(move |request| {
        speaks.store(true, Relaxed);
        let answer = answer.clone().answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let builder = builder();
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
        ended = serving.as_mut() => ended,
        // hyper tells the versions of HTTP apart without a limit on the time that it takes.
        () = silent(&spoken) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "a local connection ended early");
    }
}

/// Ends if no request has come in time.
async fn silent(spoken: &AtomicBool) {
    tokio::time::sleep(HEAD_WITHIN).await;
    if spoken.load(Relaxed) {
        std::future::pending::<()>().await;
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        // An application that shuts its sending side still wants the answer.
        .half_close(true)
        .max_headers(MAX_FIELDS)
        .max_buf_size(MAX_FIELD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_FIELD_BYTES).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_RESETS);
    builder
}
