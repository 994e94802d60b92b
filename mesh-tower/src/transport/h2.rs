//! HTTP/2: few connections, many streams.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Weak};

use http::Request;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::ConnInfo;
use super::pool::{Raw, Room, Shared};
use crate::body::MeshBody;
use crate::tls::{LateFailure, TlsFailure};

/// One connection.
pub(super) struct Connection {
    send: SendRequest<MeshBody>,
    pub(super) info: Arc<ConnInfo>,
    streams: AtomicUsize,
    /// The peer's limit on streams, as far as it has told.
    limit: Arc<AtomicUsize>,
    late: Option<LateFailure>,
    room: Room,
    /// The pool and the shard that it is in.
    pool: (Weak<Shared>, usize),
}

/// A stream whose answer is being read.
pub(crate) struct Stream(Arc<Connection>);

/// Sends the preface and starts the connection's tasks.
pub(super) async fn open(
    raw: Raw,
    shared: &Arc<Shared>,
    shard: usize,
) -> hyper::Result<Arc<Connection>> {
    let Raw {
        io,
        info,
        place,
        late,
        ..
    } = raw;
    let settings = &shared.config.h2;
    let (send, connection) = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .adaptive_window(false)
        .max_header_list_size(settings.max_header_list)
        .max_send_buf_size(settings.max_send_buffer)
        .max_frame_size(16 * 1024)
        .max_concurrent_reset_streams(128)
        .max_local_error_reset_streams(1024)
        // What an earlier connection was told: until its own settings come, this one would take
        // more than the peer allows, and keep them waiting.
        .initial_max_send_streams(shared.streams.load(Relaxed))
        .keep_alive_interval(settings.ping)
        .keep_alive_timeout(settings.ping_timeout)
        // Servers punish pings without calls.
        .keep_alive_while_idle(false)
        .handshake(TokioIo::new(io))
        .await?;
    let limit = Arc::new(AtomicUsize::new(connection.current_max_send_streams()));
    let counted = shared.stats.opened();
    let room = shared.room.clone();
    let (known, shared) = (limit.clone(), Arc::downgrade(shared));
    let pool = (shared.clone(), shard);
    // On no list: it belongs to the handle in `send`, whose drop ends it.
    tokio::spawn(async move {
        let mut connection = pin!(connection);
        // Polled once for each request, and so never far behind the peer's settings.
        let end = poll_fn(|cx| {
            let poll = connection.as_mut().poll(cx);
            if poll.is_pending() {
                let limit = connection.current_max_send_streams();
                if known.swap(limit, Relaxed) != limit
                    && let Some(shared) = shared.upgrade()
                {
                    shared.streams.store(limit.max(1), Relaxed);
                }
            }
            poll
        });
        if let Err(error) = end.await {
            tracing::debug!(target: "mesh::pool", %error, "HTTP/2 connection ended");
        }
        drop((place, counted));
    });
    Ok(Arc::new(Connection {
        send,
        info: Arc::new(info),
        streams: AtomicUsize::new(0),
        limit,
        late,
        room,
        pool,
    }))
}

// === impl Connection ===

impl Connection {
    /// The peer has closed it, or said GOAWAY: streams on it may still end well.
    pub(super) fn is_closed(&self) -> bool {
        self.send.is_closed()
    }

    pub(super) fn has_room(&self) -> bool {
        self.streams() < self.limit.load(Relaxed)
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.load(SeqCst)
    }

    pub(super) fn begin(self: &Arc<Self>) -> Stream {
        self.streams.fetch_add(1, Relaxed);
        Stream(self.clone())
    }
}

// === impl Stream ===

impl Stream {
    pub(super) fn info(&self) -> &Arc<ConnInfo> {
        &self.0.info
    }

    pub(super) fn late(&self) -> Option<&TlsFailure> {
        self.0.late.as_ref()?.get()
    }

    /// Sends the request in `slot`; it is there again if not a byte of it was written.
    pub(super) async fn send(
        &self,
        slot: &mut Option<Request<MeshBody>>,
    ) -> hyper::Result<http::Response<hyper::body::Incoming>> {
        let Some(request) = slot.take() else {
            // Its owner put it there.
            unreachable!("a request is sent once")
        };
        match self.0.send.clone().try_send_request(request).await {
            Ok(response) => Ok(response),
            Err(mut error) => {
                *slot = error.take_message();
                Err(error.into_error())
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let last = self.0.streams.fetch_sub(1, SeqCst) == 1;
        if last
            && self.0.room.waiting() > 0
            && let Some(pool) = self.0.pool.0.upgrade()
        {
            // Calls to other endpoints wait for the place that this connection has.
            pool.give_up_h2(self.0.pool.1, &self.0);
        }
    }
}
