//! A server whose connections the tests can count, end and watch.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::sync::watch;

use crate::body::MeshBody;
use crate::runtime::AbortOnDrop;
use crate::tls::ServerTls;
use crate::transport::{Accept, BoxIo, TcpAccept};

type Answer = Pin<Box<dyn Future<Output = Response<MeshBody>> + Send>>;
type Handler = Arc<dyn Fn(Request<Incoming>) -> Answer + Send + Sync>;

pub(super) struct Server {
    pub(super) addr: SocketAddr,
    seen: Arc<Seen>,
    /// Every change ends the connections of the time before, gracefully.
    finish: watch::Sender<u64>,
    _accept: AbortOnDrop,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

pub(super) struct Builder {
    tls: Option<ServerTls>,
    max_streams: Option<u32>,
}

pub(super) fn server() -> Builder {
    Builder {
        tls: None,
        max_streams: None,
    }
}

impl Builder {
    pub(super) fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    pub(super) fn max_streams(mut self, max: u32) -> Self {
        self.max_streams = Some(max);
        self
    }

    pub(super) fn start<F, A>(self, handler: F) -> Server
    where
        F: Fn(Request<Incoming>) -> A + Send + Sync + 'static,
        A: Future<Output = Response<MeshBody>> + Send + 'static,
    {
        let mut listener = TcpAccept::bind(([127, 0, 0, 1], 0).into()).expect("a listener");
        let addr = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen::default());
        let finish = watch::Sender::new(0);
        let handler: Handler = Arc::new(move |request| Box::pin(handler(request)));
        let (count, ending) = (seen.clone(), finish.clone());
        let accept = AbortOnDrop::spawn(async move {
            loop {
                let Ok((io, _)) = poll_fn(|cx| listener.poll_accept(cx)).await else {
                    return;
                };
                count.connections.fetch_add(1, Relaxed);
                let (tls, max, handler) = (self.tls.clone(), self.max_streams, handler.clone());
                let (count, ending) = (count.clone(), ending.subscribe());
                tokio::spawn(async move {
                    let io = match tls {
                        None => io,
                        Some(tls) => match tls.accept(io).await {
                            Ok(accepted) => accepted.io,
                            Err(_) => return,
                        },
                    };
                    serve(io, max, handler, count, ending).await;
                });
            }
        });
        Server {
            addr,
            seen,
            finish,
            _accept: accept,
        }
    }
}

async fn serve(
    io: BoxIo,
    max_streams: Option<u32>,
    handler: Handler,
    seen: Arc<Seen>,
    mut ending: watch::Receiver<u64>,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    if let Some(max) = max_streams {
        builder.http2().max_concurrent_streams(max);
    }
    let service = service_fn(move |request| {
        seen.requests.fetch_add(1, Relaxed);
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(io), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        _ = ending.changed() => connection.as_mut().graceful_shutdown(),
        _ = connection.as_mut() => return,
    }
    let _ = connection.await;
}

impl Server {
    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Relaxed)
    }

    pub(super) fn requests(&self) -> usize {
        self.seen.requests.load(Relaxed)
    }

    /// GOAWAY, or `connection: close`, on every connection there is now.
    pub(super) fn finish_connections(&self) {
        self.finish.send_modify(|n| *n += 1);
    }
}

/// Says back the path.
pub(super) async fn echo(request: Request<Incoming>) -> Response<MeshBody> {
    Response::new(MeshBody::full(request.uri().path().to_owned()))
}
