//! HTTP/2: few connections, many streams.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use http::Request;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use mesh_core::error::MeshError;
use pin_project_lite::pin_project;
use tokio::sync::oneshot;

use super::coalesce::Coalesced;
use super::ends::ReadsOn;
use super::error;
use super::pool::{Born, Raw, Room, Shared, Terms};
use super::{ConnInfo, Sent};
use crate::body::MeshBody;
use crate::runtime;
use crate::tls::{LateFailure, TlsFailure};

/// Time for a new peer's SETTINGS. The kernel accepts connections for a process that is stopped or
/// wedged; only this shows that somebody is there. Long enough for a loaded machine.
const HELLO: Duration = Duration::from_secs(3);

/// No peer can send this limit on streams: as long as it stands, no SETTINGS have come.
const UNTOLD: usize = usize::MAX - 1;

/// One connection.
pub(super) struct Connection {
    send: SendRequest<MeshBody>,
    pub(super) info: Arc<ConnInfo>,
    streams: AtomicUsize,
    /// Calls that were put on it.
    begun: AtomicUsize,
    /// The peer's limit on streams.
    limit: Arc<AtomicUsize>,
    late: Option<LateFailure>,
    room: Room,
    /// The pool and the shard that it is in.
    pool: (Weak<Shared>, usize),
    born: Born,
    looked: Mutex<Looked>,
}

/// What the last looks at a connection have shown.
struct Looked {
    begun: usize,
    quiet_since: Option<Instant>,
    /// To be replaced whatever its age.
    retired: bool,
    /// A replacement has failed: not again before this.
    not_before: Option<Instant>,
}

/// What one look shows.
pub(super) struct Look {
    /// How long nobody has used it, as far as looks can tell.
    pub(super) idle_for: Duration,
    /// When it is to be replaced.
    pub(super) ends: Option<Instant>,
}

/// A stream whose answer is being read.
pub(crate) struct Stream(Arc<Connection>);

/// Spawns hyper's tasks. The first one drives the connection, and hyper does not say when SETTINGS
/// have come, so whoever waits for them is woken whenever it has run.
#[derive(Clone)]
struct Executor {
    ran: Arc<AtomicWaker>,
    first: Arc<AtomicBool>,
}

pin_project! {
    struct Driver<F> {
        #[pin]
        inner: F,
        ran: Arc<AtomicWaker>,
    }
}

/// Sends the preface, starts the connection's tasks, and waits until the peer has said what it
/// takes. A burst of calls before that would be put on a connection that is too small for it, and
/// a connection that nobody serves would look like one.
pub(super) async fn open(
    raw: Raw,
    shared: &Arc<Shared>,
    shard: usize,
) -> Result<Arc<Connection>, MeshError> {
    let Raw {
        io,
        info,
        place,
        late,
        ..
    } = raw;
    let addr = shared.config.addr;
    let settings = &shared.config.h2;
    let policy = shared.terms.policy();
    let executor = Executor::new();
    let ran = executor.ran.clone();
    let (send, connection) = Builder::new(executor)
        .timer(TokioTimer::new())
        .initial_stream_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .adaptive_window(false)
        .max_header_list_size(settings.max_header_list)
        .max_send_buf_size(settings.max_send_buffer)
        .max_frame_size(16 * 1024)
        .max_concurrent_reset_streams(128)
        .max_local_error_reset_streams(1024)
        .initial_max_send_streams(UNTOLD)
        .keep_alive_interval(shared.terms.ping_after())
        .keep_alive_timeout(policy.keepalive_timeout())
        .keep_alive_while_idle(policy.keepalive_while_idle())
        .handshake(TokioIo::new(Coalesced::new(ReadsOn::new(io))))
        .await
        .map_err(|error| error::handshake(addr, error, late.as_ref()))?;
    let limit = Arc::new(AtomicUsize::new(UNTOLD));
    let counted = shared.stats.opened();
    let (known, weak) = (limit.clone(), Arc::downgrade(shared));
    let pool = (weak.clone(), shard);
    let (tell, told) = oneshot::channel();
    // On no list: it belongs to the handle in `send`, whose drop ends it.
    let driver = tokio::spawn(async move {
        let mut connection = pin!(connection);
        let mut tell = Some(tell);
        let end = poll_fn(|cx| {
            if tell.is_some() {
                ran.register(cx.waker());
            }
            let poll = connection.as_mut().poll(cx);
            if poll.is_pending() {
                // Polled once for each request, and so never far behind the peer's settings.
                let limit = connection.current_max_send_streams();
                if limit != UNTOLD {
                    let before = known.swap(limit, Relaxed);
                    if let Some(tell) = tell.take() {
                        // Who waited may have gone away.
                        let _ = tell.send(Ok(()));
                    } else if before < limit
                        && let Some(shared) = weak.upgrade()
                    {
                        shared.streams_changed(shard);
                    }
                }
            }
            poll
        })
        .await;
        if let Err(error) = &end {
            tracing::debug!(target: "mesh::pool", %error, "HTTP/2 connection ended");
        }
        let shared = weak.upgrade();
        if let (Some(shared), Err(error)) = (&shared, &end)
            && error::is_too_many_pings(error)
        {
            shared.terms.calm_down();
        }
        if let Some(tell) = tell.take() {
            let _ = tell.send(end);
        }
        drop((place, counted));
        if let Some(shared) = shared {
            shared.streams_changed(shard);
        }
    });
    match tokio::time::timeout(HELLO, told).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => return Err(error::handshake(addr, error, late.as_ref())),
        Ok(Err(_)) => return Err(error::unfit(addr, "the connection ended before SETTINGS")),
        Err(_) => {
            driver.abort();
            return Err(error::silent(addr, HELLO));
        }
    }
    Ok(Arc::new(Connection {
        send,
        info: Arc::new(info),
        streams: AtomicUsize::new(0),
        begun: AtomicUsize::new(0),
        limit,
        late,
        room: shared.room.clone(),
        pool,
        born: Born::at(runtime::now()),
        looked: Mutex::new(Looked {
            begun: 0,
            quiet_since: None,
            retired: false,
            not_before: None,
        }),
    }))
}

// === impl Connection ===

impl Connection {
    /// The peer has closed it, or said GOAWAY: streams on it may still end well.
    pub(super) fn is_closed(&self) -> bool {
        self.send.is_closed()
    }

    /// It has had as many calls as a connection may have.
    pub(super) fn is_used_up(&self, terms: &Terms) -> bool {
        self.begun.load(Relaxed) >= terms.max_requests()
    }

    pub(super) fn has_room(&self, terms: &Terms) -> bool {
        self.streams() < self.limit.load(Relaxed).min(terms.max_streams())
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.load(SeqCst)
    }

    pub(super) fn begin(self: &Arc<Self>) -> Stream {
        self.streams.fetch_add(1, Relaxed);
        self.begun.fetch_add(1, Relaxed);
        Stream(self.clone())
    }

    /// Looks how long it has been idle and when it is due. Calls leave no time behind, which would
    /// cost each of them a look at the clock: two looks that see the same number of calls do.
    pub(super) fn look(&self, terms: &Terms, now: Instant) -> Look {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = self.begun.load(Relaxed);
        if begun != looked.begun || self.streams() > 0 {
            looked.begun = begun;
            looked.quiet_since = None;
        }
        let idle_for = match (looked.quiet_since, self.streams()) {
            (_, 1..) => Duration::ZERO,
            (Some(since), _) => now.saturating_duration_since(since),
            (None, _) => {
                looked.quiet_since = Some(now);
                Duration::ZERO
            }
        };
        let ends = match looked.retired {
            true => Some(now),
            false => terms.ends(self.born),
        };
        let ends = ends.map(|end| end.max(looked.not_before.unwrap_or(end)));
        Look { idle_for, ends }
    }

    /// To be replaced at the next look.
    pub(super) fn retire(&self) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        looked.retired = true;
    }

    /// Keeps it until then.
    pub(super) fn not_before(&self, then: Instant) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        looked.not_before = Some(then);
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

    /// Sends a request; the error gives it back if not a byte of it was written.
    pub(super) fn send(
        &self,
        request: Request<MeshBody>,
    ) -> impl Future<Output = Sent> + Send + use<> {
        self.0.send.clone().try_send_request(request)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let last = self.0.streams.fetch_sub(1, SeqCst) == 1;
        if self.0.room.waiting() > 0
            && let Some(pool) = self.0.pool.0.upgrade()
        {
            pool.stream_ended(self.0.pool.1, &self.0, last);
        }
    }
}

// === impl Executor ===

impl Executor {
    fn new() -> Self {
        Self {
            ran: Arc::default(),
            first: Arc::new(AtomicBool::new(true)),
        }
    }
}

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, inner: F) {
        if self.first.swap(false, Relaxed) {
            let ran = self.ran.clone();
            runtime::spawn(Driver { inner, ran });
        } else {
            runtime::spawn(inner);
        }
    }
}

impl<F: Future> Future for Driver<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let poll = this.inner.poll(cx);
        // Nobody is registered once the settings have come.
        this.ran.wake();
        poll
    }
}
