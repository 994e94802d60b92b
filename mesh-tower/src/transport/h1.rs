//! HTTP/1.1: a stack of idle connections. The most recent one goes first, so that the others can
//! grow old and be closed.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::Request;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;

use super::ends::Keeps;
use super::pool::{Born, Counted, Place, Raw, Shared};
use super::{BoxIo, ConnInfo, Resets, Sent, reset, tunnelled};
use crate::body::MeshBody;
use crate::runtime;
use crate::tls::LateFailure;

/// The end of an answer and the end of its connection's turn are two events on two tasks, moments
/// apart. A connection that takes longer is busy with something else, such as a body that the
/// server did not want to read.
const SETTLE: Duration = Duration::from_millis(2);

/// A connection between two calls, or in one.
pub(super) struct Connection {
    pub(super) send: SendRequest<MeshBody>,
    pub(super) info: Arc<ConnInfo>,
    pub(super) idle_since: Instant,
    pub(super) born: Born,
    /// Calls that it has had.
    pub(super) used: usize,
    pub(super) late: Option<LateFailure>,
}

/// A connection whose answer is being read: free again at the answer's end.
pub(crate) struct Busy {
    connection: Connection,
    shared: Arc<Shared>,
    shard: usize,
}

/// Starts the connection's task. It ends when the peer closes, or when the last handle is dropped
/// and nothing is in flight.
pub(super) async fn open(raw: Raw, shared: &Arc<Shared>) -> hyper::Result<Connection> {
    let Raw {
        io,
        info,
        place,
        late,
        ..
    } = raw;
    let (send, connection) = Builder::new().handshake(TokioIo::new(io)).await?;
    let counted = shared.stats.opened();
    // On no list: it belongs to the handle in `send`, whose drop ends it.
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(target: "mesh::pool", %error, "HTTP/1.1 connection ended");
        }
        drop((place, counted));
    });
    let now = runtime::now();
    Ok(Connection {
        send,
        info: Arc::new(info),
        idle_since: now,
        born: Born::at(now),
        used: 0,
        late,
    })
}

/// A connection for one request, which may turn it into a tunnel. Its place is given back when the
/// bytes end, whoever has them by then.
pub(super) struct Alone {
    pub(super) send: SendRequest<MeshBody>,
    pub(super) info: Arc<ConnInfo>,
    pub(super) late: Option<LateFailure>,
}

/// What such a connection reads and writes.
type AloneIo = Keeps<BoxIo, (Place, Counted)>;

impl Resets for AloneIo {
    fn reset(&self) {
        reset(&self.io);
    }
}

/// The bytes of a tunnel that a service has given.
pub(crate) fn given(upgraded: hyper::upgrade::Upgraded) -> BoxIo {
    tunnelled::<AloneIo>(upgraded)
}

/// Starts the task of such a connection.
pub(super) async fn open_alone(raw: Raw, shared: &Arc<Shared>) -> hyper::Result<Alone> {
    let Raw {
        io,
        info,
        place,
        late,
        ..
    } = raw;
    let io = Keeps {
        io,
        _kept: (place, shared.stats.opened()),
    };
    let (send, connection) = Builder::new().handshake(TokioIo::new(io)).await?;
    // On no list, as above; a tunnel belongs to who has it.
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(target: "mesh::pool", %error, "HTTP/1.1 connection ended");
        }
    });
    Ok(Alone {
        send,
        info: Arc::new(info),
        late,
    })
}

// === impl Connection ===

impl Connection {
    /// Whether the next request can be put on it. `verify_after` as in the configuration.
    pub(super) async fn is_usable(&mut self, verify_after: Duration, now: Instant) -> bool {
        if self.send.is_closed() {
            return false;
        }
        if !self.send.is_ready() && !self.gets_ready_soon().await {
            let settled = tokio::time::timeout(SETTLE, self.send.ready()).await;
            if !matches!(settled, Ok(Ok(()))) {
                return false;
            }
        }
        if now.saturating_duration_since(self.idle_since) >= verify_after {
            // The server's close may have arrived without anybody having been woken for it: the
            // runtime looks at its sockets when this task has been passed over once. Servers close
            // connections that were idle for long, so a busy one need not pay for it.
            tokio::task::yield_now().await;
            // And the connection's task, woken by that, gets its turn before this one.
            let mut passed = false;
            poll_fn(|cx| {
                if std::mem::replace(&mut passed, true) {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
            return self.send.is_ready();
        }
        true
    }

    /// Whether it is ready once its task has had a turn or two, as nearly all are: that needs no
    /// timer.
    async fn gets_ready_soon(&mut self) -> bool {
        let mut turns = 0;
        poll_fn(|cx| match self.send.poll_ready(cx) {
            Poll::Ready(ready) => Poll::Ready(ready.is_ok()),
            Poll::Pending if turns < 2 => {
                turns += 1;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Ready(false),
        })
        .await
    }

    pub(super) fn busy(self, shared: Arc<Shared>, shard: usize) -> Busy {
        Busy {
            connection: self,
            shared,
            shard,
        }
    }
}

// === impl Busy ===

impl Busy {
    /// The answer has been read to its end.
    pub(super) fn reuse(self) {
        let Self {
            mut connection,
            shared,
            shard,
        } = self;
        if connection.send.is_closed() {
            return;
        }
        connection.idle_since = runtime::now();
        shared.put_idle(shard, connection);
    }
}

/// Sends a request; the error gives it back if not a byte of it was written. No `async fn`: its
/// future would keep room for the request, which is on its way by then.
pub(super) fn send(
    connection: &mut Connection,
    request: Request<MeshBody>,
) -> impl Future<Output = Sent> + Send + use<> {
    connection.used = connection.used.saturating_add(1);
    connection.send.try_send_request(request)
}
