use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use mesh_core::error::MeshError;
use mesh_core::policy::model::ConnectionPolicy;
use tokio::sync::MutexGuard;

use super::Shard;
use super::own::Own;
use super::room::{Place, Room};
use super::stats::{Stats, Waiting};
use super::terms::Terms;
use crate::tls::{Alpn, LateFailure};
use crate::transport::request::Names;
use crate::transport::{BoxIo, ConnInfo, Connect, PoolConfig, error, eyeballs};

/// What all calls to one endpoint have in common.
pub(in crate::transport) struct Shared {
    pub(in crate::transport) config: PoolConfig,
    pub(in crate::transport) stats: Arc<Stats>,
    pub(in crate::transport) terms: Terms,
    /// Where it is: the address to be dialled first, and that in the other family.
    pub(super) addrs: Mutex<(SocketAddr, Option<SocketAddr>)>,
    pub(super) own: Own,
    connect: Arc<dyn Connect>,
    pub(super) names: Names,
    pub(in crate::transport) room: Room,
    pub(super) closed: AtomicBool,
    /// What ALPN came to: 0 not known, 1 HTTP/1.1, 2 HTTP/2.
    pub(super) agreed: AtomicU8,
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

/// RFC 8305 section 4: IPv6 first.
fn preferred(addr: SocketAddr, alternate: Option<SocketAddr>) -> (SocketAddr, Option<SocketAddr>) {
    match alternate {
        Some(six) if six.is_ipv6() && addr.is_ipv4() => (six, Some(addr)),
        _ => (addr, alternate),
    }
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
            terms: Terms::new(config.policy),
            addrs: Mutex::new(preferred(config.addr, config.alternate)),
            own: Own::default(),
            connect,
            names,
            room,
            closed: AtomicBool::new(false),
            agreed: AtomicU8::new(0),
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
        let place = match self.try_place() {
            Some(place) => place,
            None => {
                let _waiting = self.waiting(None)?;
                // Idle connections of the other protocol, of another worker or of another
                // endpoint must not keep this call out.
                self.make_room();
                self.take_place().await
            }
        };
        self.connect_with(place, alpn).await
    }

    /// No further connection may be made now.
    pub(super) fn is_full(&self) -> bool {
        self.room.is_full() || self.is_own_full()
    }

    fn is_own_full(&self) -> bool {
        self.own.is_full(self.terms.max_connections())
    }

    /// A place under the endpoint's limit and under that of the destination.
    pub(super) fn try_place(&self) -> Option<Place> {
        let own = self.own.try_take(self.terms.max_connections())?;
        self.room.try_take().map(|place| place.of(own))
    }

    /// Waits for one.
    pub(super) async fn take_place(&self) -> Place {
        loop {
            self.vacancy().await;
            if let Some(place) = self.try_place() {
                return place;
            }
        }
    }

    /// Waits until a further connection may be made. Who then makes none passes that on, by
    /// [`Room::pass_on`].
    pub(super) async fn vacancy(&self) {
        let mut woken = false;
        loop {
            // Boxed, so that it can be dropped below: one that is only pinned here would stay in the
            // line and be the one that is passed on to.
            let mut room = Box::pin(self.room.freed().notified());
            room.as_mut().enable();
            let mut own = pin!(self.own.freed().notified());
            own.as_mut().enable();
            match (self.room.is_full(), self.is_own_full()) {
                (false, false) => return,
                (true, false) => room.await,
                (false, true) => {
                    if std::mem::take(&mut woken) {
                        // The room was told to this endpoint, which cannot use it.
                        drop(room);
                        self.room.pass_on();
                    }
                    own.await;
                    continue;
                }
                (true, true) => tokio::select! {
                    () = room => {}
                    () = own => continue,
                },
            }
            woken = true;
        }
    }

    /// Closes a connection without a call, where that helps.
    pub(super) fn make_room(&self) {
        if self.is_own_full() {
            self.close_one_idle();
        } else {
            self.room.make(self);
        }
    }

    /// Begins a wait, unless too many calls wait already.
    pub(super) fn waiting<'a>(
        &'a self,
        here: Option<&'a AtomicUsize>,
    ) -> Result<Waiting<'a>, MeshError> {
        let waiter = self.room.wait().map_err(crate::ceiling::crowded)?;
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
        let _waiting = match self.is_full() {
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
        let policy = self.terms.policy();
        let limit = policy.connect_timeout();
        let delay = policy.happy_eyeballs();
        let addrs = || self.addrs.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, second) = *addrs();
        let dialled = eyeballs::dial(&*self.connect, first, second, delay, limit).await;
        let (io, remote) = match dialled {
            Ok(dialled) => dialled,
            Err(eyeballs::Failed::Io(error)) => return Err(error::connect(addr, error)),
            Err(eyeballs::Failed::Timeout) => return Err(error::connect_timeout(addr, limit)),
        };
        if Some(remote) == second {
            // Until it fails in turn: who has found the way does not ask for it each time.
            let mut addrs = addrs();
            if *addrs == (first, second) {
                *addrs = (remote, Some(first));
            }
        }
        let mut info = ConnInfo {
            remote: Some(remote),
            ..ConnInfo::default()
        };
        let tls = self.config.tls.as_ref();
        let tls = tls.filter(|(tls, _)| alpn != Alpn::Through || tls.is_mesh());
        let Some((tls, expect)) = tls else {
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

    pub(super) fn tune(&self, policy: &ConnectionPolicy, alternate: Option<SocketAddr>) {
        {
            let mut addrs = self.addrs.lock().unwrap_or_else(PoisonError::into_inner);
            let known = preferred(self.config.addr, alternate);
            let swapped = known.1.map(|other| (other, Some(known.0)));
            if *addrs != known && Some(*addrs) != swapped {
                *addrs = known;
            }
        }
        let Some(before) = self.terms.replace(policy) else {
            return;
        };
        let pings = |policy: &ConnectionPolicy| {
            let while_idle = policy.keepalive_while_idle();
            let interval = policy.keepalive_interval();
            (interval, policy.keepalive_timeout(), while_idle)
        };
        for shard in &self.shards {
            if pings(&before) != pings(policy) {
                shard.lock().h2.iter().for_each(|one| one.retire());
            }
            shard.streams.notify_waiters();
        }
        self.own.freed().notify_waiters();
        self.terms.changed.notify_waiters();
    }

    /// After a failure that may mean that the endpoint has changed its protocol.
    pub(super) fn forget(&self, error: &hyper::Error) {
        if error.is_parse() {
            self.agreed.store(0, Relaxed);
        }
    }
}
