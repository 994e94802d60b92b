//! The two listeners without TLS: the page on loopback (HTTP/1.1) and the admin socket (HTTP/2,
//! protected by its file mode).

use std::convert::Infallible;
use std::fs;
use std::future::Future;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::rpc;
use super::state::Shared;
use crate::Error;

/// Connections at a time, of each of the two.
const MAX_CONNECTIONS: usize = 256;
/// Time for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A Unix socket's address is at most so long (`sun_path` less its final zero).
const MAX_SOCKET_PATH: usize = 107;

/// Serves the page until told to stop.
pub(super) async fn page(listener: TcpListener, router: Router, stop: CancellationToken) {
    let serve = move |stream| {
        let service = TowerToHyperService::new(router.clone());
        async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(64 * 1024)
                .serve_connection(TokioIo::new(stream), service);
            // A peer that goes away in the middle is not news.
            let _ = connection.await;
        }
    };
    accept_loop(&listener, serve, stop).await;
}

/// Serves the admin socket until told to stop, then removes it.
pub(super) async fn admin(socket: AdminSocket, shared: Arc<Shared>, stop: CancellationToken) {
    let serve = move |stream| {
        let shared = shared.clone();
        async move {
            let service = service_fn(move |request| {
                let shared = shared.clone();
                async move { Ok::<_, Infallible>(rpc::admin(shared, request).await) }
            });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            let _ = connection.await;
        }
    };
    accept_loop(&socket.listener, serve, stop).await;
}

/// What connections come from.
trait Listen: Sync {
    type Stream: Send;
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listen for TcpListener {
    type Stream = TcpStream;
    async fn next(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Listen for UnixListener {
    type Stream = UnixStream;
    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

async fn accept_loop<L: Listen, F>(
    listener: &L,
    serve: impl Fn(L::Stream) -> F + Send,
    stop: CancellationToken,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Dropped at the end, and with it every connection.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.next() => match accepted {
                Ok(stream) => {
                    // One more than there is room for is closed at once.
                    let Ok(permit) = room.clone().try_acquire_owned() else { continue };
                    let connection = serve(stream);
                    connections.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    // Out of file descriptors: wait for some to be closed.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

/// The bound admin socket; its file goes with it.
#[derive(Debug)]
pub(super) struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminSocket {
    /// Binds the socket with mode 0600. A socket that a killed server left is replaced: the lock of
    /// the state directory says that nobody serves it.
    pub(super) fn bind(path: &Path) -> Result<Self, Error> {
        let failed = |what: String| {
            Error::new(
                "M5003",
                format!("admin socket {}: {what}", path.display()),
                "give --admin-socket a short path in a directory that this user can write",
            )
        };
        let length = path.as_os_str().len();
        if length > MAX_SOCKET_PATH {
            return Err(failed(format!(
                "the path has {length} bytes, at most {MAX_SOCKET_PATH} fit"
            )));
        }
        match fs::symlink_metadata(path) {
            Ok(meta) if meta.file_type().is_socket() => {
                fs::remove_file(path).map_err(|error| failed(error.to_string()))?;
            }
            Ok(_) => return Err(failed("something that is not a socket is there".to_owned())),
            Err(_) => {}
        }
        // Bound beside under a name that nobody knows, and moved there with its mode set: at no
        // moment can another user connect.
        let mut beside = path.as_os_str().to_owned();
        beside.push("~");
        let beside = PathBuf::from(beside);
        let bind = || {
            let _ = fs::remove_file(&beside);
            let listener = UnixListener::bind(&beside)?;
            fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
            fs::rename(&beside, path)?;
            Ok::<_, io::Error>(listener)
        };
        let listener = bind().map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
