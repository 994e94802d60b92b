//! The pool: [`EndpointPool`] is the handle, `Shared` what its calls and connections have in
//! common, a `Shard` what one worker keeps.

mod bytes;
mod http1;
mod http2;
mod own;
mod room;
mod shard;
mod shared;
mod stats;
mod tend;
mod terms;
mod upgrade;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use mesh_core::error::MeshError;
use mesh_core::policy::model::ConnectionPolicy;

pub(crate) use self::bytes::{Bytes, Kept};
pub(super) use self::room::Place;
pub(crate) use self::room::Room;
use self::shard::Shard;
pub(super) use self::shared::{Raw, Shared};
pub(super) use self::stats::Counted;
pub(super) use self::terms::{Born, Terms};
use super::request::is_grpc;
use super::{ConnInfo, Connect, PoolConfig, Protocol, h1, h2};
use crate::body::MeshBody;
use crate::expect::{hold, is_expected};
use crate::runtime::{self, worker_index};
use crate::tls::Alpn;
use crate::upgrade::is_asked;

/// The connections to one endpoint.
///
/// Each worker of the process has its own shard, so that neither a connection nor its wake-ups
/// cross threads; an application has one shard, behind a mutex that is held for a push or a pop.
///
/// A call's future owns its stream: dropping the future, or the answer's body, gives the call up at
/// the peer too. Dropping the pool lets calls in flight end and closes the rest.
pub struct EndpointPool(Arc<Shared>);

/// What a pool holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Open connections of both protocols.
    pub open: usize,
    /// HTTP/1.1 connections without a call.
    pub idle: usize,
    /// Calls that wait for a connection because of the limit.
    pub waiting: usize,
    /// Connections opened since the start.
    pub opened: u64,
}

/// The connection that an answer's body comes from.
pub(crate) enum Held {
    H1(h1::Busy),
    H2(#[expect(dead_code, reason = "counts until it is dropped")] h2::Stream),
    /// One that had asked for a tunnel and got an answer: it is not used again.
    Alone(#[expect(dead_code, reason = "open until it is dropped")] SendRequest<MeshBody>),
}

// === impl EndpointPool ===

impl EndpointPool {
    /// No connection yet: the first call makes it.
    pub fn new(config: PoolConfig, connect: Arc<dyn Connect>) -> Self {
        let room = Room::alone(config.max_connections);
        Self::sharing(config, connect, room)
    }

    /// One of several pools with common limits; that of the configuration does not count.
    pub(crate) fn sharing(config: PoolConfig, connect: Arc<dyn Connect>, room: Room) -> Self {
        let shared = Arc::new(Shared::new(config, connect, room));
        shared.room.join(&shared);
        Self(shared)
    }

    /// Sends one request. No time limit of its own beyond that of connecting.
    ///
    /// # Errors
    ///
    /// Kinds Connect, Tls, Identity and Protocol, with flags that say whether the request may have
    /// been processed. A request that met a dead pooled connection and provably was not written
    /// has already been sent again, once, on a new one.
    pub async fn call(&self, request: Request<MeshBody>) -> Result<Response<MeshBody>, MeshError> {
        self.call_at(request, runtime::now(), None).await
    }

    /// The same. `now` is the time of the call; `grpc` says whether it is one, if that is known.
    pub(crate) async fn call_at(
        &self,
        mut request: Request<MeshBody>,
        now: Instant,
        grpc: Option<bool>,
    ) -> Result<Response<MeshBody>, MeshError> {
        let shared = &self.0;
        if is_asked(request.headers()) && shared.speaks_http1() {
            return Box::pin(shared.call_upgrade(request)).await;
        }
        let shard = worker_index() % shared.shards.len();
        let h2 = match shared.config.protocol {
            Protocol::Http1 => false,
            Protocol::Http2 => true,
            Protocol::Auto => {
                let grpc = grpc.unwrap_or_else(|| is_grpc(request.headers()));
                shared.uses_http2(shard, grpc).await?
            }
            Protocol::Bytes => {
                let what = "its port is one of bytes (appProtocol: tcp) and takes no requests";
                return Err(super::error::unfit(shared.config.addr, what));
            }
        };
        if is_expected(&request) && shared.speaks_http1() {
            let answered = hold(&mut request);
            let response = Box::pin(shared.call_h1(shard, request, now)).await?;
            return Ok(response.map(|body| body.with_guard(answered)));
        }
        if h2 {
            shared.call_h2(shard, request).await
        } else {
            shared.call_h1(shard, request, now).await
        }
    }

    /// Puts another policy in force, for the connections that are open too; none of them is
    /// broken. `alternate` is the endpoint's address in the other family.
    ///
    /// What a connection says at its beginning (pings) holds for new ones: those that are open are
    /// replaced, each by a new one before it is let go.
    pub fn tune(&self, policy: &ConnectionPolicy, alternate: Option<SocketAddr>) {
        self.0.tune(policy, alternate);
    }

    /// Makes a connection, TLS included, and closes it.
    pub(crate) async fn knock(&self) -> Result<(), MeshError> {
        self.0.connect(Alpn::Both).await.map(drop)
    }

    /// Takes no more calls; those in flight end, then their connections close.
    pub fn close(&self) {
        self.0.closed.store(true, Relaxed);
        for shard in &self.0.shards {
            let lists = std::mem::take(&mut *shard.lock());
            drop(lists);
            shard.freed.notify_waiters();
            shard.streams.notify_waiters();
        }
    }

    #[cfg(test)]
    pub(in crate::transport) fn reapers(&self) -> Vec<tokio::task::Id> {
        self.0.reapers()
    }

    /// What it holds now.
    pub fn stats(&self) -> PoolStats {
        let stats = &self.0.stats;
        PoolStats {
            open: stats.open.load(Relaxed),
            idle: self
                .0
                .shards
                .iter()
                .map(|shard| shard.lock().idle.len())
                .sum(),
            waiting: stats.waiting.load(Relaxed),
            opened: stats.opened.load(Relaxed),
        }
    }

    /// How it reaches its endpoint.
    pub fn config(&self) -> &PoolConfig {
        &self.0.config
    }
}

impl Drop for EndpointPool {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for EndpointPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointPool")
            .field("addr", &self.0.config.addr)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

// === impl Held ===

impl Held {
    /// The answer has been read to its end.
    pub(crate) fn reuse(self) {
        if let Self::H1(busy) = self {
            busy.reuse();
        }
    }
}

fn answer(response: Response<Incoming>, held: Held, info: &Arc<ConnInfo>) -> Response<MeshBody> {
    let (mut head, frames) = response.into_parts();
    if frames.is_end_stream() {
        head.extensions.insert(ConnInfo::clone(info));
    }
    Response::from_parts(head, MeshBody::answer(frames, held, info.clone()))
}

/// The pool is shared between threads, and its calls travel between them.
const _: () = {
    const fn send<T: Send>() {}
    const fn sync<T: Sync>() {}
    send::<EndpointPool>();
    sync::<EndpointPool>();
};

#[expect(dead_code, reason = "checked by the compiler")]
fn calls_are_send(pool: &EndpointPool, request: Request<MeshBody>) -> impl Future + Send {
    pool.call(request)
}
