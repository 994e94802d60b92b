use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use http::{Request, Response};
use mesh_core::error::MeshError;

use super::{Held, Raw, Shared, answer};
use crate::body::MeshBody;
use crate::tls::Alpn;
use crate::transport::{error, h2};

impl Shared {
    pub(super) async fn call_h2(
        self: &Arc<Self>,
        shard: usize,
        mut request: Request<MeshBody>,
    ) -> Result<Response<MeshBody>, MeshError> {
        self.names.for_http2(&mut request);
        let mut second = false;
        loop {
            let stream = match self.find_h2(shard) {
                Some(stream) => stream,
                // Boxed, as for HTTP/1.1: most calls find a connection.
                None => Box::pin(self.make_h2(shard)).await?,
            };
            match stream.send(request).await {
                Ok(response) => {
                    let info = stream.info().clone();
                    return Ok(answer(response, Held::H2(stream), &info));
                }
                Err(mut failed) => match failed.take_message() {
                    // The connection was closed, or said GOAWAY, before this was written.
                    Some(back) if !second => {
                        request = back;
                        second = true;
                    }
                    back => {
                        let (error, unsent) = (failed.into_error(), back.is_some());
                        self.forget(&error);
                        return Err(error::call(self.config.addr, error, unsent, stream.late()));
                    }
                },
            }
        }
    }

    /// A stream on a live connection below its limits.
    fn find_h2(&self, shard: usize) -> Option<h2::Stream> {
        let terms = &self.terms;
        let mut lists = self.shards[shard].lock();
        lists
            .h2
            .retain(|connection| !connection.is_closed() && !connection.is_used_up(terms));
        lists
            .h2
            .iter()
            .find(|connection| connection.has_room(terms))
            .map(h2::Connection::begin)
    }

    fn has_h2(&self, shard: usize) -> bool {
        let lists = self.shards[shard].lock();
        lists.h2.iter().any(|connection| !connection.is_closed())
    }

    /// A call has left a stream on a connection, for which somebody may wait.
    pub(in crate::transport) fn stream_ended(
        &self,
        shard: usize,
        on: &Arc<h2::Connection>,
        last: bool,
    ) {
        let here = &self.shards[shard];
        let own = here.waiting_streams.load(SeqCst);
        if own > 0 {
            here.streams.notify_one();
        } else if last && self.room.waiting() > own {
            // Calls to other endpoints wait for the place that this connection has.
            self.give_up_h2(shard, on);
        }
    }

    /// There may be more streams now, or one connection less.
    pub(in crate::transport) fn streams_changed(&self, shard: usize) {
        self.shards[shard].streams.notify_waiters();
    }

    /// Lets go of a connection that nobody uses.
    pub(super) fn give_up_h2(&self, shard: usize, free: &Arc<h2::Connection>) {
        let mut lists = self.shards[shard].lock();
        let unused = |one: &Arc<h2::Connection>| Arc::ptr_eq(one, free) && one.streams() == 0;
        lists.h2.retain(|one| !unused(one));
    }

    /// A stream on another connection (gRFC A105), or on one of those there are when there can be
    /// no more of them.
    async fn make_h2(self: &Arc<Self>, shard: usize) -> Result<h2::Stream, MeshError> {
        let here = &self.shards[shard];
        loop {
            let seen = here.failures.load(Relaxed);
            let mut last = self.turn(here).await?;
            if let Some(stream) = self.find_h2(shard) {
                return Ok(stream);
            }
            if here.failures.load(Relaxed) != seen
                && let Some(error) = &*last
            {
                return Err(error.clone());
            }
            if self.is_full() && self.has_h2(shard) {
                drop(last);
                if let Some(stream) = self.wait_h2(shard).await? {
                    return Ok(stream);
                }
                continue;
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
            return here.settle(&mut last, made.await);
        }
    }

    /// Waits for a stream, outside of the connections: one that is stuck does not keep its waiters.
    /// `None` when there is room for another connection by now, or none left to wait for.
    async fn wait_h2(&self, shard: usize) -> Result<Option<h2::Stream>, MeshError> {
        let here = &self.shards[shard];
        let _waiting = self.waiting(Some(&here.waiting_streams))?;
        let mut vacant = false;
        loop {
            let mut freed = pin!(here.streams.notified());
            freed.as_mut().enable();
            if let Some(stream) = self.find_h2(shard) {
                if vacant {
                    self.room.pass_on();
                }
                return Ok(Some(stream));
            }
            if !self.is_full() || !self.has_h2(shard) {
                return Ok(None);
            }
            if self.room.is_full() {
                self.room.make(self);
            }
            tokio::select! {
                () = freed => vacant = false,
                () = self.vacancy() => vacant = true,
            }
        }
    }

    pub(super) async fn put_h2(
        self: &Arc<Self>,
        shard: usize,
        raw: Raw,
    ) -> Result<h2::Stream, MeshError> {
        let connection = self.open_h2(shard, raw).await?;
        let stream = connection.begin();
        self.keep_h2(shard, connection);
        Ok(stream)
    }

    pub(super) async fn open_h2(
        self: &Arc<Self>,
        shard: usize,
        raw: Raw,
    ) -> Result<Arc<h2::Connection>, MeshError> {
        let began = tokio::time::Instant::now();
        let opened = h2::open(raw, self, shard).await;
        if let Err(error) = &opened {
            self.room.connected(began.elapsed(), Some(error));
        }
        opened
    }

    /// Makes a connection available to calls.
    pub(super) fn keep_h2(self: &Arc<Self>, shard: usize, connection: Arc<h2::Connection>) {
        if self.closed.load(Relaxed) {
            return;
        }
        let mut lists = self.shards[shard].lock();
        lists.h2.push(connection);
        self.look_after(shard, &mut lists.reaper);
    }
}
