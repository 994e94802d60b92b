use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use mesh_core::error::MeshError;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::request::{Names, is_grpc};
use super::{BoxIo, ConnInfo, Connect, PoolConfig, Protocol, error, h1, h2};
use crate::body::MeshBody;
use crate::runtime::{AbortOnDrop, worker_index};
use crate::tls::{Alpn, LateFailure};

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

pub(super) struct Shared {
    pub(super) config: PoolConfig,
    pub(super) stats: Arc<Stats>,
    connect: Arc<dyn Connect>,
    names: Names,
    room: Arc<Semaphore>,
    closed: AtomicBool,
    /// What ALPN came to: 0 not known, 1 HTTP/1.1, 2 HTTP/2.
    agreed: AtomicU8,
    /// The peer's limit on HTTP/2 streams, as the last connection was told; 100 until then, the
    /// least that RFC 9113 section 6.5.2 recommends to servers.
    pub(super) streams: AtomicUsize,
    shards: Box<[Shard]>,
}

#[derive(Default)]
struct Shard {
    lists: Mutex<Lists>,
    freed: Notify,
    /// Held while a connection that others wait for is being made: one handshake, not one for
    /// each of a burst of calls.
    making: tokio::sync::Mutex<Option<MeshError>>,
    /// Counts the failures of `making`: who waited through one need not try again.
    failures: AtomicU64,
}

#[derive(Default)]
struct Lists {
    idle: Vec<h1::Connection>,
    h2: Vec<Arc<h2::Connection>>,
    reaper: Option<AbortOnDrop>,
}

#[derive(Default)]
pub(super) struct Stats {
    open: AtomicUsize,
    opened: AtomicU64,
    waiting: AtomicUsize,
}

/// An open connection, for the statistics.
pub(super) struct Counted(Arc<Stats>);

/// A call that waits for a connection.
struct Waiting<'a>(&'a Stats);

/// The connection that an answer's body comes from.
pub(crate) enum Held {
    H1(h1::Busy),
    H2(#[expect(dead_code, reason = "counts until it is dropped")] h2::Stream),
}

/// A new connection, before HTTP.
pub(super) struct Raw {
    pub(super) io: BoxIo,
    pub(super) info: ConnInfo,
    pub(super) permit: OwnedSemaphorePermit,
    /// What becomes of TLS after the handshake; `None` for plaintext.
    pub(super) late: Option<LateFailure>,
    h2: bool,
}

const HTTP1: u8 = 1;
const HTTP2: u8 = 2;

// === impl EndpointPool ===

impl EndpointPool {
    /// No connection yet: the first call makes it.
    pub fn new(config: PoolConfig, connect: Arc<dyn Connect>) -> Self {
        let names = Names::new(
            config.authority.as_deref(),
            config.addr,
            config.tls.is_some(),
        );
        let room = config.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        let shards = (0..config.shards.max(1))
            .map(|_| Shard::default())
            .collect();
        Self(Arc::new(Shared {
            stats: Arc::default(),
            connect,
            names,
            room: Arc::new(Semaphore::new(room)),
            closed: AtomicBool::new(false),
            agreed: AtomicU8::new(0),
            streams: AtomicUsize::new(100),
            shards,
            config,
        }))
    }

    /// Sends one request. No time limit of its own beyond that of connecting.
    ///
    /// # Errors
    ///
    /// Kinds Connect, Tls, Identity and Protocol, with flags that say whether the request may have
    /// been processed. A request that met a dead pooled connection and provably was not written
    /// has already been sent again, once, on a new one.
    pub async fn call(&self, request: Request<MeshBody>) -> Result<Response<MeshBody>, MeshError> {
        let shared = &self.0;
        let shard = worker_index() % shared.shards.len();
        let h2 = match shared.config.protocol {
            Protocol::Http1 => false,
            Protocol::Http2 => true,
            Protocol::Auto => shared.uses_http2(shard, is_grpc(request.headers())).await?,
        };
        if h2 {
            shared.call_h2(shard, request).await
        } else {
            shared.call_h1(shard, request).await
        }
    }

    /// Takes no more calls; those in flight end, then their connections close.
    pub fn close(&self) {
        self.0.closed.store(true, Relaxed);
        for shard in &self.0.shards {
            let lists = std::mem::take(&mut *shard.lock());
            drop(lists);
            shard.freed.notify_waiters();
        }
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

// === impl PoolStats ===

impl PoolStats {
    /// Open connections of both protocols.
    pub fn connections(&self) -> usize {
        self.open
    }
}

// === impl Shared ===

impl Shared {
    /// Which protocol a request takes where both may be. Over TLS the first connection finds out.
    async fn uses_http2(self: &Arc<Self>, shard: usize, grpc: bool) -> Result<bool, MeshError> {
        if self.config.tls.is_none() {
            return Ok(grpc);
        }
        let agreed = match self.agreed.load(Relaxed) {
            0 => self.agree(shard).await?,
            agreed => agreed,
        };
        if agreed == HTTP1 && grpc {
            // It may have been upgraded since: the next call asks again.
            self.agreed.store(0, Relaxed);
            let what = "the endpoint speaks only HTTP/1.1, and gRPC needs HTTP/2";
            return Err(error::unfit(self.config.addr, what));
        }
        Ok(agreed == HTTP2)
    }

    /// Makes the first connection and keeps it for the call that asked.
    async fn agree(self: &Arc<Self>, shard: usize) -> Result<u8, MeshError> {
        let here = &self.shards[shard];
        let seen = here.failures.load(Relaxed);
        let mut last = here.making.lock().await;
        match (self.agreed.load(Relaxed), &*last) {
            (0, Some(error)) if here.failures.load(Relaxed) != seen => return Err(error.clone()),
            (0, _) => {}
            (agreed, _) => return Ok(agreed),
        }
        let made = async {
            let raw = self.connect(Alpn::Both).await?;
            let agreed = if raw.h2 { HTTP2 } else { HTTP1 };
            if raw.h2 {
                self.put_h2(shard, raw).await?;
            } else {
                let connection = self.open_h1(raw).await?;
                self.put_idle(shard, connection);
            }
            self.agreed.store(agreed, Relaxed);
            Ok(agreed)
        };
        here.settle(&mut last, made.await)
    }

    async fn call_h1(
        self: &Arc<Self>,
        shard: usize,
        mut request: Request<MeshBody>,
    ) -> Result<Response<MeshBody>, MeshError> {
        self.names.for_http1(&mut request);
        let mut pooled = self.take_idle(shard).await;
        let mut second = false;
        loop {
            let reused = pooled.is_some();
            let mut connection = match pooled.take() {
                Some(connection) => connection,
                None if second => self.new_h1().await?,
                None => self.any_h1(shard).await?,
            };
            match h1::send(&mut connection, request).await {
                Ok(mut response) => {
                    response
                        .extensions_mut()
                        .insert(ConnInfo::clone(&connection.info));
                    let busy = connection.busy(self.clone(), shard);
                    return Ok(answer(response, Held::H1(busy)));
                }
                Err((_, Some(unsent))) if reused && !second => {
                    // Provably not written: nothing can be duplicated by sending it again.
                    second = true;
                    request = *unsent;
                }
                Err((error, unsent)) => {
                    self.forget(&error);
                    let late = connection.late.as_ref().and_then(|late| late.get());
                    return Err(error::call(self.config.addr, error, unsent.is_some(), late));
                }
            }
        }
    }

    /// A connection from the pool that is good for one more request.
    async fn take_idle(&self, shard: usize) -> Option<h1::Connection> {
        loop {
            let mut connection = self.shards[shard].lock().idle.pop()?;
            if connection.is_usable(self.config.verify_idle_after).await {
                return Some(connection);
            }
        }
    }

    /// A new connection, or one that is freed before there is room for a new one.
    async fn any_h1(self: &Arc<Self>, shard: usize) -> Result<h1::Connection, MeshError> {
        loop {
            match self.room.clone().try_acquire_owned() {
                Ok(permit) => {
                    let raw = self.connect_with(permit, Alpn::Http1).await?;
                    return self.open_h1(raw).await;
                }
                Err(_) => {
                    let _waiting = Waiting::new(&self.stats);
                    let freed = self.shards[shard].freed.notified();
                    if let Some(connection) = self.take_idle(shard).await {
                        return Ok(connection);
                    }
                    if self.closed.load(Relaxed) {
                        return Err(error::closed(self.config.addr));
                    }
                    // Another worker may sit on idle ones: what it gives up makes room here.
                    self.close_one_idle();
                    tokio::select! {
                        () = freed => {}
                        permit = self.room.clone().acquire_owned() => drop(permit),
                    }
                    if let Some(connection) = self.take_idle(shard).await {
                        return Ok(connection);
                    }
                }
            }
        }
    }

    fn close_one_idle(&self) {
        let idle = |shard: &Shard| shard.lock().idle.pop();
        drop(self.shards.iter().find_map(idle));
    }

    async fn new_h1(self: &Arc<Self>) -> Result<h1::Connection, MeshError> {
        let raw = self.connect(Alpn::Http1).await?;
        self.open_h1(raw).await
    }

    async fn open_h1(self: &Arc<Self>, raw: Raw) -> Result<h1::Connection, MeshError> {
        h1::open(raw, self)
            .await
            .map_err(|error| error::handshake(self.config.addr, error))
    }

    /// Keeps a connection for the next call.
    pub(super) fn put_idle(self: &Arc<Self>, shard: usize, connection: h1::Connection) {
        if self.closed.load(Relaxed) {
            return;
        }
        let here = &self.shards[shard];
        let mut lists = here.lock();
        if lists.idle.len() >= self.config.max_idle {
            return;
        }
        lists.idle.push(connection);
        if lists.reaper.as_ref().is_none_or(AbortOnDrop::is_finished)
            && tokio::runtime::Handle::try_current().is_ok()
        {
            lists.reaper = Some(AbortOnDrop::spawn(reap(Arc::downgrade(self), shard)));
        }
        drop(lists);
        if self.stats.waiting.load(Relaxed) > 0 {
            here.freed.notify_one();
        }
    }

    async fn call_h2(
        self: &Arc<Self>,
        shard: usize,
        mut request: Request<MeshBody>,
    ) -> Result<Response<MeshBody>, MeshError> {
        self.names.for_http2(&mut request);
        let mut second = false;
        loop {
            let stream = match self.find_h2(shard) {
                Some(stream) => stream,
                None => self.make_h2(shard).await?,
            };
            match stream.send(request).await {
                Ok(mut response) => {
                    response.extensions_mut().insert(stream.info().clone());
                    return Ok(answer(response, Held::H2(stream)));
                }
                // The connection was closed, or said GOAWAY, before this was written.
                Err((_, Some(unsent))) if !second => {
                    second = true;
                    request = *unsent;
                }
                Err((error, unsent)) => {
                    self.forget(&error);
                    let unsent = unsent.is_some();
                    return Err(error::call(self.config.addr, error, unsent, stream.late()));
                }
            }
        }
    }

    /// A stream on a live connection below the peer's limit.
    fn find_h2(&self, shard: usize) -> Option<h2::Stream> {
        let mut lists = self.shards[shard].lock();
        lists.h2.retain(|connection| !connection.is_closed());
        lists
            .h2
            .iter()
            .find(|connection| connection.has_room())
            .map(h2::Connection::begin)
    }

    /// The least bad one when there can be no further connection: the call queues inside.
    fn crowded_h2(&self, shard: usize) -> Option<h2::Stream> {
        let lists = self.shards[shard].lock();
        let live = lists.h2.iter().filter(|connection| !connection.is_closed());
        live.min_by_key(|connection| connection.streams())
            .map(h2::Connection::begin)
    }

    async fn make_h2(self: &Arc<Self>, shard: usize) -> Result<h2::Stream, MeshError> {
        let here = &self.shards[shard];
        let seen = here.failures.load(Relaxed);
        let mut last = here.making.lock().await;
        if let Some(stream) = self.find_h2(shard) {
            return Ok(stream);
        }
        if here.failures.load(Relaxed) != seen
            && let Some(error) = &*last
        {
            return Err(error.clone());
        }
        if self.room.available_permits() == 0
            && let Some(stream) = self.crowded_h2(shard)
        {
            return Ok(stream);
        }
        let made = async {
            let raw = self.connect(Alpn::Http2).await?;
            if !raw.h2 {
                self.agreed.store(0, Relaxed);
                let what = "the endpoint does not speak HTTP/2";
                return Err(error::unfit(self.config.addr, what));
            }
            self.put_h2(shard, raw).await
        };
        here.settle(&mut last, made.await)
    }

    async fn put_h2(self: &Arc<Self>, shard: usize, raw: Raw) -> Result<h2::Stream, MeshError> {
        let connection = h2::open(raw, self)
            .await
            .map_err(|error| error::handshake(self.config.addr, error))?;
        let stream = connection.begin();
        if !self.closed.load(Relaxed) {
            self.shards[shard].lock().h2.push(connection);
        }
        Ok(stream)
    }

    async fn connect(&self, alpn: Alpn) -> Result<Raw, MeshError> {
        let permit = match self.room.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _waiting = Waiting::new(&self.stats);
                // Idle connections of the other protocol, or of another worker, must not keep
                // this call out.
                self.close_one_idle();
                let permit = self.room.clone().acquire_owned().await;
                permit.map_err(|_| error::closed(self.config.addr))?
            }
        };
        self.connect_with(permit, alpn).await
    }

    async fn connect_with(
        &self,
        permit: OwnedSemaphorePermit,
        alpn: Alpn,
    ) -> Result<Raw, MeshError> {
        let addr = self.config.addr;
        if self.closed.load(Relaxed) {
            return Err(error::closed(addr));
        }
        let limit = self.config.connect_timeout;
        let io = match timeout(limit, self.connect.connect(addr)).await {
            Ok(Ok(io)) => io,
            Ok(Err(error)) => return Err(error::connect(addr, error)),
            Err(_) => return Err(error::connect_timeout(addr, limit)),
        };
        let mut info = ConnInfo {
            remote: Some(addr),
            ..ConnInfo::default()
        };
        let Some((tls, expect)) = &self.config.tls else {
            return Ok(Raw {
                io,
                info,
                h2: alpn == Alpn::Http2,
                permit,
                late: None,
            });
        };
        match tls.handshake(io, addr.ip(), expect, alpn).await {
            Ok(connected) => {
                info.tls = true;
                info.peer = connected.peer;
                let late = Some(connected.late);
                Ok(Raw {
                    io: connected.io,
                    info,
                    h2: connected.h2,
                    permit,
                    late,
                })
            }
            Err(failure) => {
                // What was agreed on may no longer hold.
                self.agreed.store(0, Relaxed);
                Err(error::tls(addr, failure))
            }
        }
    }

    /// After a failure that may mean that the endpoint has changed its protocol.
    fn forget(&self, error: &hyper::Error) {
        if error.is_parse() {
            self.agreed.store(0, Relaxed);
        }
    }
}

/// Closes idle connections that have grown old; ends when there are none.
async fn reap(shared: Weak<Shared>, shard: usize) {
    loop {
        let Some(period) = shared
            .upgrade()
            .map(|shared| shared.config.idle_timeout / 2)
        else {
            return;
        };
        tokio::time::sleep(period.max(Duration::from_millis(10))).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let mut lists = shared.shards[shard].lock();
        let limit = shared.config.idle_timeout;
        lists.idle.retain(|connection| {
            !connection.send.is_closed() && connection.idle_since.elapsed() < limit
        });
        if lists.idle.is_empty() {
            // Dropping the handle of the task that runs this would only mark it aborted.
            lists.reaper = None;
            return;
        }
    }
}

fn answer(response: Response<Incoming>, held: Held) -> Response<MeshBody> {
    response.map(|body| MeshBody::incoming(body).with_connection(held))
}

// === impl Shard ===

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets those who waited share a failure.
    fn settle<T>(
        &self,
        last: &mut Option<MeshError>,
        made: Result<T, MeshError>,
    ) -> Result<T, MeshError> {
        *last = made.as_ref().err().cloned();
        if made.is_err() {
            self.failures.fetch_add(1, Relaxed);
        }
        made
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

// === impl Stats ===

impl Stats {
    pub(super) fn opened(self: &Arc<Self>) -> Counted {
        self.open.fetch_add(1, Relaxed);
        self.opened.fetch_add(1, Relaxed);
        Counted(self.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

// === impl Waiting ===

impl<'a> Waiting<'a> {
    fn new(stats: &'a Stats) -> Self {
        stats.waiting.fetch_add(1, Relaxed);
        Self(stats)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
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
