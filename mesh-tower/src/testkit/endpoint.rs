use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{Reply, Seen};
use crate::body::MeshBody;
use crate::transport::BoxIo;

/// How much an in-memory connection holds, in bytes.
const PIPE: usize = 64 * 1024;

/// A scripted server in memory. Clones are the same server.
#[derive(Clone)]
pub struct TestEndpoint {
    shared: Arc<Shared>,
}

type Decide = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

struct Shared {
    addr: SocketAddr,
    refusing: AtomicBool,
    connects: AtomicU64,
    script: Mutex<Script>,
}

struct Script {
    /// Taken first, one for each request.
    next: VecDeque<Reply>,
    otherwise: Decide,
    seen: Vec<Seen>,
    connections: Vec<tokio::task::AbortHandle>,
}

// === impl TestEndpoint ===

impl TestEndpoint {
    pub(super) fn new(addr: SocketAddr) -> Self {
        let script = Script {
            next: VecDeque::new(),
            otherwise: Arc::new(|_| Reply::new(200, Bytes::new())),
            seen: Vec::new(),
            connections: Vec::new(),
        };
        Self {
            shared: Arc::new(Shared {
                addr,
                refusing: AtomicBool::new(false),
                connects: AtomicU64::new(0),
                script: Mutex::new(script),
            }),
        }
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.shared.addr
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.shared
            .script
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers every request so from now on.
    pub fn answer(&self, status: u16, body: impl Into<Bytes>) {
        self.reply(Reply::new(status, body));
    }

    /// Does this with every request from now on.
    pub fn reply(&self, reply: Reply) {
        self.decide(move |_| reply.clone());
    }

    /// Decides per request from now on.
    pub fn decide(&self, decide: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        self.script().otherwise = Arc::new(decide);
    }

    /// Does this with the next request that has no reply yet, once.
    pub fn once(&self, reply: Reply) {
        self.script().next.push_back(reply);
    }

    /// Refuses connections, and breaks those that are open.
    pub fn kill(&self) {
        self.shared.refusing.store(true, Ordering::SeqCst);
        for connection in self.script().connections.drain(..) {
            connection.abort();
        }
    }

    /// Accepts connections again.
    pub fn revive(&self) {
        self.shared.refusing.store(false, Ordering::SeqCst);
    }

    /// The requests that have come so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.script().seen.clone()
    }

    /// How many requests have come so far.
    pub fn calls(&self) -> usize {
        self.script().seen.len()
    }

    /// How many connections were made or tried so far.
    pub fn connects(&self) -> u64 {
        self.shared.connects.load(Ordering::SeqCst)
    }

    pub(super) async fn accept(&self) -> io::Result<BoxIo> {
        self.shared.connects.fetch_add(1, Ordering::SeqCst);
        if self.shared.refusing.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = tokio::io::duplex(PIPE);
        let endpoint = self.clone();
        let serve = async move {
            let service = service_fn(move |request| endpoint.clone().serve(request));
            // A client that goes away is no fault of the test.
            let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(far), service)
                .await;
        };
        let task = tokio::spawn(serve);
        self.script().connections.push(task.abort_handle());
        Ok(Box::new(near))
    }

    async fn serve(self, request: Request<Incoming>) -> Result<Response<MeshBody>, io::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let seen = Seen {
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            body,
        };
        let reply = {
            let mut script = self.script();
            script.seen.push(seen.clone());
            match script.next.pop_front() {
                Some(reply) => reply,
                None => {
                    let decide = script.otherwise.clone();
                    drop(script);
                    decide(&seen)
                }
            }
        };
        reply
            .play()
            .await
            .ok_or_else(|| io::ErrorKind::ConnectionReset.into())
    }
}

impl std::fmt::Debug for TestEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestEndpoint")
            .field("addr", &self.shared.addr)
            .finish_non_exhaustive()
    }
}
