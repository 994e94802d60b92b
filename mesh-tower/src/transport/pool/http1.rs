use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Instant;

use http::{Request, Response};
use http_body::Body as _;
use mesh_core::error::MeshError;

use super::{Held, Raw, Shared, answer};
use crate::body::MeshBody;
use crate::runtime;
use crate::tls::Alpn;
use crate::transport::{error, h1};

impl Shared {
    pub(super) async fn call_h1(
        self: &Arc<Self>,
        shard: usize,
        mut request: Request<MeshBody>,
        now: Instant,
    ) -> Result<Response<MeshBody>, MeshError> {
        self.names.for_http1(&mut request);
        if !request.body().is_end_stream() {
            let body = std::mem::take(request.body_mut());
            *request.body_mut() = body.for_http1(request.headers(), true);
        }
        let mut pooled = self.take_idle(shard, now).await;
        let mut second = false;
        loop {
            let reused = pooled.is_some();
            let mut connection = match pooled.take() {
                Some(connection) => connection,
                // Boxed: a future is as large as its largest state, and calls that find a
                // connection must not carry the room for a handshake.
                None if second => Box::pin(self.new_h1()).await?,
                None => Box::pin(self.any_h1(shard)).await?,
            };
            match h1::send(&mut connection, request).await {
                Ok(response) => {
                    let info = connection.info.clone();
                    let busy = connection.busy(self.clone(), shard);
                    return Ok(answer(response, Held::H1(busy), &info));
                }
                Err(mut failed) => match failed.take_message() {
                    // Provably not written: nothing can be duplicated by sending it again.
                    Some(back) if reused && !second => {
                        request = back;
                        second = true;
                    }
                    back => {
                        let (error, unsent) = (failed.into_error(), back.is_some());
                        self.forget(&error);
                        let late = connection.late.as_ref().and_then(|late| late.get());
                        return Err(error::call(self.config.addr, error, unsent, late));
                    }
                },
            }
        }
    }

    /// A connection from the pool that is good for one more request.
    async fn take_idle(&self, shard: usize, now: Instant) -> Option<h1::Connection> {
        loop {
            let mut connection = self.shards[shard].lock().idle.pop()?;
            if connection
                .is_usable(self.config.verify_idle_after, now)
                .await
            {
                return Some(connection);
            }
        }
    }

    /// A new connection, or one that is freed before there is room for a new one.
    async fn any_h1(self: &Arc<Self>, shard: usize) -> Result<h1::Connection, MeshError> {
        let here = &self.shards[shard];
        let place = match self.try_place() {
            Some(place) => place,
            None => {
                let _waiting = self.waiting(Some(&here.waiting))?;
                loop {
                    let freed = here.freed.notified();
                    if let Some(connection) = self.take_idle(shard, runtime::now()).await {
                        return Ok(connection);
                    }
                    if self.closed.load(Relaxed) {
                        return Err(error::closed(self.config.addr));
                    }
                    // Another worker or endpoint may sit on idle ones: what it gives up makes
                    // room here.
                    self.make_room();
                    tokio::select! {
                        () = freed => {}
                        place = self.take_place() => break place,
                    }
                }
            }
        };
        let raw = self.connect_with(place, Alpn::Http1).await?;
        self.open_h1(raw).await
    }

    /// Closes a connection without a call, if there is any.
    pub(super) fn close_one_idle(&self) -> bool {
        self.shards.iter().any(|shard| {
            let mut lists = shard.lock();
            if let Some(idle) = lists.idle.pop() {
                drop(lists);
                drop(idle);
                return true;
            }
            let free = lists.h2.iter().position(|one| one.streams() == 0);
            let free = free.map(|at| lists.h2.swap_remove(at));
            drop(lists);
            free.is_some()
        })
    }

    async fn new_h1(self: &Arc<Self>) -> Result<h1::Connection, MeshError> {
        let raw = self.connect(Alpn::Http1).await?;
        self.open_h1(raw).await
    }

    pub(super) async fn open_h1(self: &Arc<Self>, raw: Raw) -> Result<h1::Connection, MeshError> {
        h1::open(raw, self)
            .await
            .map_err(|error| error::handshake(self.config.addr, error, None))
    }

    /// Keeps a connection for the next call.
    pub(in crate::transport) fn put_idle(
        self: &Arc<Self>,
        shard: usize,
        connection: h1::Connection,
    ) {
        if self.closed.load(Relaxed) || connection.used >= self.terms.max_requests() {
            return;
        }
        let end = self.terms.ends(connection.born);
        if end.is_some_and(|end| end <= connection.idle_since) {
            return;
        }
        let here = &self.shards[shard];
        let mut lists = here.lock();
        if lists.idle.len() >= self.config.max_idle {
            return;
        }
        if self.room.waiting() > here.waiting.load(SeqCst) {
            // Calls to other endpoints, or on other workers, wait for what this one holds.
            drop(lists);
            return;
        }
        lists.idle.push(connection);
        self.look_after(shard, &mut lists.reaper);
        drop(lists);
        if here.waiting.load(SeqCst) > 0 {
            here.freed.notify_one();
        }
    }
}
