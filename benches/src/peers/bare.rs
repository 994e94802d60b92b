//! The least that a proxy can be: no policy at all, and one endpoint.
//!
//! On hyper it has a `Vec` of idle connections. The relay does not look at what it passes, and has a connection to the
//! endpoint for each of a caller: two waits, two reads and two writes a call, which no proxy can do without, and nothing else.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::str::FromStr;

use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

use super::scenario::by_word;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a bare proxy understands of what it passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Bytes,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Bytes, Self::Http1, Self::Http2];

    /// The word for it on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Http1 => "http1",
            Self::Http2 => "http2",
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        by_word(&Self::ALL, Self::word, text)
            .map_err(|known| format!("`{text}` is no bare proxy; {known}"))
    }
}

/// Proxies what arrives on `listen` to `to`, on one single-threaded runtime, until the process ends.
///
/// # Errors
///
/// When it cannot listen.
pub fn run(listen: SocketAddr, to: SocketAddr, kind: Kind) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let listener = TcpListener::bind(listen).await?;
        let pool = Rc::new(Pool {
            to,
            idle: RefCell::default(),
            shared: tokio::sync::Mutex::default(),
        });
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            let _ = stream.set_nodelay(true);
            let pool = pool.clone();
            tokio::task::spawn_local(async move {
                if kind == Kind::Bytes {
                    let _ = relay(stream, to).await;
                    return;
                }
                let io = TokioIo::new(stream);
                let service = service_fn(move |request| pool.clone().call(request));
                if kind == Kind::Http2 {
                    let server = hyper::server::conn::http2::Builder::new(LocalExecutor);
                    let _ = server.serve_connection(io, service).await;
                } else {
                    let server = hyper::server::conn::http1::Builder::new();
                    let _ = server.serve_connection(io, service).await;
                }
            });
        }
    })
}

async fn relay(mut caller: TcpStream, to: SocketAddr) -> io::Result<()> {
    let mut callee = TcpStream::connect(to).await?;
    callee.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut caller, &mut callee).await?;
    Ok(())
}

#[derive(Clone)]
struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

struct Pool {
    to: SocketAddr,
    idle: RefCell<Vec<http1::SendRequest<Incoming>>>,
    shared: tokio::sync::Mutex<Option<http2::SendRequest<Incoming>>>,
}

impl Pool {
    async fn call(
        self: Rc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Incoming>, BoxError> {
        if request.version() == Version::HTTP_2 {
            return self.call2(request).await;
        }
        // One whose last answer is still being read is of no use yet.
        let pooled = {
            let mut idle = self.idle.borrow_mut();
            let ready = idle.iter().rposition(http1::SendRequest::is_ready);
            ready.map(|at| idle.swap_remove(at))
        };
        let mut sender = match pooled {
            Some(sender) => sender,
            None => {
                let (sender, connection) = http1::handshake(self.connect().await?).await?;
                tokio::task::spawn_local(connection);
                sender
            }
        };
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        self.idle.borrow_mut().push(sender);
        Ok(response)
    }

    async fn call2(&self, request: Request<Incoming>) -> Result<Response<Incoming>, BoxError> {
        let mut shared = self.shared.lock().await;
        let mut sender = match &*shared {
            Some(sender) if !sender.is_closed() => sender.clone(),
            _ => {
                let io = self.connect().await?;
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                tokio::task::spawn_local(connection);
                shared.insert(sender).clone()
            }
        };
        drop(shared);
        Ok(sender.send_request(request).await?)
    }

    async fn connect(&self) -> io::Result<TokioIo<TcpStream>> {
        let stream = TcpStream::connect(self.to).await?;
        stream.set_nodelay(true)?;
        Ok(TokioIo::new(stream))
    }
}
