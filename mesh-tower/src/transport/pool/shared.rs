use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed};

use mesh_core::error::MeshError;
use tokio::sync::MutexGuard;
use tokio::time::timeout;

use super::Shard;
use super::room::{Place, Room};
use super::stats::{Stats, Waiting};
use crate::tls::{Alpn, LateFailure};
use crate::transport::request::Names;
use crate::transport::{BoxIo, ConnInfo, Connect, PoolConfig, error};

/// What all calls to one endpoint have in common.
pub(in crate::transport) struct Shared {
    pub(in crate::transport) config: PoolConfig,
    pub(in crate::transport) stats: Arc<Stats>,
    connect: Arc<dyn Connect>,
    pub(super) names: Names,
    pub(in crate::transport) room: Room,
    pub(super) closed: AtomicBool,
    /// What ALPN came to: 0 not known, 1 HTTP/1.1, 2 HTTP/2.
    pub(super) agreed: AtomicU8,
    /// The peer's limit on HTTP/2 streams, as the last connection was told; 100 until then, the
    /// least that RFC 9113 section 6.5.2 recommends to servers.
    pub(in crate::transport) streams: AtomicUsize,
    pub(super) shards: Box<[Shard]>,
}

/// A new connection, before HTTP.
pub(in crate::transport) struct Raw {
    pub(in crate::transport) io: BoxIo,
    pub(in crate::transport) info: ConnInfo,
    pub(in crate::transport) place: Place,
    /// What becomes of TLS after the handshake; `None` for plaintext.
    pub(in crate::transport) late: Option<LateFailure>,
    pub(super) h2: bool,
}

const HTTP1: u8 = 1;
const HTTP2: u8 = 2;

// === impl Shared ===

impl Shared {
    pub(super) fn new(config: PoolConfig, connect: Arc<dyn Connect>, room: Room) -> Self {
        let names = Names::new(
            config.authority.as_deref(),
            config.addr,
            config.tls.is_some(),
        );
        let shards = (0..config.shards.max(1))
            .map(|_| Shard::default())
            .collect();
        Self {
            stats: Arc::default(),
            connect,
            names,
            room,
            closed: AtomicBool::new(false),
            agreed: AtomicU8::new(0),
            streams: AtomicUsize::new(100),
            shards,
            config,
        }
    }

    /// Which protocol a request takes where both may be. Over TLS the first connection finds out.
    pub(super) async fn uses_http2(
        self: &Arc<Self>,
        shard: usize,
        grpc: bool,
    ) -> Result<bool, MeshError> {
        if self.config.tls.is_none() {
            return Ok(grpc);
        }
        let agreed = match self.agreed.load(Relaxed) {
            0 => Box::pin(self.agree(shard)).await?,
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
        let mut last = self.turn(here).await?;
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

    pub(super) async fn connect(&self, alpn: Alpn) -> Result<Raw, MeshError> {
        let place = match self.room.try_take() {
            Some(place) => place,
            None => {
                let _waiting = self.waiting(None)?;
                // Idle connections of the other protocol, of another worker or of another
                // endpoint must not keep this call out.
                self.room.make(self);
                self.room.take().await
            }
        };
        self.connect_with(place, alpn).await
    }

    /// Begins a wait, unless too many calls wait already.
    pub(super) fn waiting<'a>(&'a self, here: Option<&'a Shard>) -> Result<Waiting<'a>, MeshError> {
        let waiter = self.room.wait().map_err(crate::ceiling::crowded)?;
        let here = here.map(|shard| &shard.waiting);
        Ok(Waiting::new(&self.stats, here, waiter))
    }

    /// The turn to make the connection that others wait for too. Who waits behind a call that has
    /// no room waits like it.
    pub(super) async fn turn<'a>(
        &self,
        here: &'a Shard,
    ) -> Result<MutexGuard<'a, Option<MeshError>>, MeshError> {
        if let Ok(turn) = here.making.try_lock() {
            return Ok(turn);
        }
        let _waiting = match self.room.is_full() {
            true => Some(self.waiting(None)?),
            false => None,
        };
        Ok(here.making.lock().await)
    }

    pub(super) async fn connect_with(&self, place: Place, alpn: Alpn) -> Result<Raw, MeshError> {
        if self.closed.load(Relaxed) {
            return Err(error::closed(self.config.addr));
        }
        let began = tokio::time::Instant::now();
        let made = self.open(place, alpn).await;
        self.room.connected(began.elapsed(), made.as_ref().err());
        made
    }

    async fn open(&self, place: Place, alpn: Alpn) -> Result<Raw, MeshError> {
        let addr = self.config.addr;
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
                place,
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
                    place,
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
    pub(super) fn forget(&self, error: &hyper::Error) {
        if error.is_parse() {
            self.agreed.store(0, Relaxed);
        }
    }
}
