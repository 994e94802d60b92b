use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

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
        request: &mut Option<Request<MeshBody>>,
    ) -> Result<Response<MeshBody>, MeshError> {
        if let Some(request) = request {
            self.names.for_http2(request);
        }
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
                // The connection was closed, or said GOAWAY, before this was written.
                Err(_) if request.is_some() && !second => second = true,
                Err(error) => {
                    self.forget(&error);
                    let unsent = request.is_some();
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

    /// Lets go of a connection that nobody uses.
    pub(in crate::transport) fn give_up_h2(&self, shard: usize, free: &Arc<h2::Connection>) {
        let mut lists = self.shards[shard].lock();
        let unused = |one: &Arc<h2::Connection>| Arc::ptr_eq(one, free) && one.streams() == 0;
        lists.h2.retain(|one| !unused(one));
    }

    async fn make_h2(self: &Arc<Self>, shard: usize) -> Result<h2::Stream, MeshError> {
        let here = &self.shards[shard];
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
        if self.room.is_full()
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

    pub(super) async fn put_h2(
        self: &Arc<Self>,
        shard: usize,
        raw: Raw,
    ) -> Result<h2::Stream, MeshError> {
        let connection = h2::open(raw, self, shard)
            .await
            .map_err(|error| error::handshake(self.config.addr, error))?;
        let stream = connection.begin();
        if !self.closed.load(Relaxed) {
            self.shards[shard].lock().h2.push(connection);
        }
        Ok(stream)
    }
}
