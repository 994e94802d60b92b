//! One connection, from its first byte to its last.

use std::{
    fmt::Display,
    future::Future,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, SystemTime},
};

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use mesh_core::{
    error::{ErrorKind, MeshError},
    identity::SpiffeId,
    live::Live,
    name::ServiceName,
    policy::model::{MtlsMode, Snapshot, TransportModel},
};
use tokio::sync::watch;

use super::{
    Limits, TlsChoice,
    admit::Form,
    bytes,
    detect::{self, First, Http, Rewind},
    dispatch::{Answers, Dispatch, Phase},
    pace::{Line, Paced},
    signal::{Cut, Gate, Signal},
};
use crate::{
    access::Rules,
    report::{InboundStats, Source},
    runtime::Spawner,
    tcp::Application,
    telemetry::{Counter, Gauge},
    tls::{Credentials, ServerTls},
    transport::{BoxIo, ConnInfo, Lingering},
};

/// How long a connection that is to be closed may still bring a request that was on its way.
const LINGER: Duration = Duration::from_secs(1);
/// How long a plaintext client of bytes is listened to before it is taken for one that waits for the
/// server to speak.
const SERVER_FIRST: Duration = Duration::from_millis(300);
/// hyper's own bound on fields. To name it costs 1,000 instructions a request: any that is named is
/// kept on the heap.
const HYPERS_FIELDS: usize = 100;
/// Streams that a peer may reset before we have accepted them, and resets of our own making, until
/// the connection is closed (rapid reset, CVE-2023-44487 and its kin).
const RESETS: usize = 100;

/// What all connections of one server share.
pub(super) struct Shared {
    pub(super) service: ServiceName,
    pub(super) policy: Live<Snapshot>,
    pub(super) stats: InboundStats,
    pub(super) limits: Limits,
    pub(super) form: Form,
    /// The service is told who asked.
    pub(super) forwarded: bool,
    pub(super) choice: TlsChoice,
    pub(super) credentials: Credentials,
    pub(super) tls: ServerTls,
    pub(super) join: ServerTls,
    pub(super) local: SocketAddr,
    pub(super) signal: watch::Receiver<Signal>,
    pub(super) open: Gauge,
    pub(super) tunnels: Gauge,
    pub(super) handshakes: Handshakes,
    /// A listener of bytes, not of requests.
    pub(super) bytes: Option<Arc<Application>>,
}

/// When a connection has lived for long enough.
enum Age {
    Endless,
    /// It finishes then; the calls that are left have the grace.
    Until(tokio::time::Instant, Option<Duration>),
    /// It is cut then.
    Finishing(tokio::time::Instant),
}

/// Counts handshakes by result.
pub(super) struct Handshakes {
    pub(super) ok: Counter,
    pub(super) failed: Counter,
}

/// A connection whose peer is known as well as it will be.
pub(super) struct Secured {
    pub(super) io: BoxIo,
    pub(super) peer: Option<SpiffeId>,
    /// Set for plaintext that the policy lets in.
    source: Option<Arc<Source>>,
    pub(super) tls: bool,
    http: Option<Http>,
}

/// What is known of a connection when its first request may come.
struct Opened {
    http: Http,
    io: Rewind<BoxIo>,
    peer: Option<SpiffeId>,
    tls: bool,
    source: Option<Arc<Source>>,
    remote: SocketAddr,
}

/// What is accepted from one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepted {
    Plaintext,
    Tls,
    Either,
    Join,
}

/// Serves one connection to its end.
pub(super) async fn serve<S: Answers>(
    shared: Arc<Shared>,
    service: S,
    io: BoxIo,
    remote: SocketAddr,
) {
    let _open = shared.open.enter();
    if let Some(app) = shared.bytes.clone() {
        return bytes::serve(shared, &app, io, remote).await;
    }
    let limit = shared.limits.handshake;
    let start = async {
        let secured = shared.secure(io, remote).await?;
        let (http, io) = match secured.http {
            Some(Http::Two) => {
                let io = detect::two(secured.io).await.map_err(broken)?;
                (Http::Two, io)
            }
            Some(Http::One) => (Http::One, Rewind::new(secured.io)),
            None => detect::http(secured.io).await.map_err(broken)?,
        };
        Ok::<_, MeshError>(Opened {
            http,
            io,
            peer: secured.peer,
            tls: secured.tls,
            source: secured.source,
            remote,
        })
    };
    let opened = match tokio::time::timeout(limit, start).await {
        Ok(Ok(started)) => started,
        Ok(Err(error)) => {
            tracing::debug!(target: "mesh::server", %remote, "connection refused: {error}");
            return;
        }
        Err(_) => {
            tracing::debug!(target: "mesh::server", %remote, "no handshake within {limit:?}");
            return;
        }
    };
    shared.http(service, opened).await;
}

fn broken(error: io::Error) -> MeshError {
    MeshError::new(ErrorKind::Connect, "the connection broke before a request").with_source(error)
}

// === impl Shared ===

impl Shared {
    /// One line at the start, so that nobody serves plaintext without knowing.
    pub(super) fn say_how_it_is_secured(&self) {
        if self.choice == TlsChoice::Policy && !self.credentials.has_identity() {
            tracing::info!(
                target: "mesh::server",
                addr = %self.local,
                "no identity yet: plaintext, unless the policy demands mutual TLS"
            );
        }
    }

    fn transport(&self) -> (Arc<TransportModel>, ServiceName) {
        let service = self.service.clone();
        let model = self.policy.clone().get().inbound().transport_for(&service);
        (model, service)
    }

    /// What is accepted from a source now.
    fn accepted(&self, model: &TransportModel, remote: SocketAddr) -> Result<Accepted, MeshError> {
        let port = self.local.port();
        Ok(match self.choice {
            TlsChoice::Disabled => Accepted::Plaintext,
            TlsChoice::Strict => Accepted::Tls,
            TlsChoice::Permissive => Accepted::Either,
            TlsChoice::Join => Accepted::Join,
            TlsChoice::Policy if !self.credentials.has_identity() => {
                if model.is_explicit() && model.mtls(Some(port)) == MtlsMode::Strict {
                    let what = "the policy demands mutual TLS, and this process has no identity";
                    return Err(MeshError::new(ErrorKind::Identity, what));
                }
                Accepted::Plaintext
            }
            TlsChoice::Policy => match model.mtls(Some(port)) {
                MtlsMode::Disabled => Accepted::Plaintext,
                MtlsMode::Permissive => Accepted::Either,
                MtlsMode::Strict => {
                    if model.accepts_plaintext(remote.ip(), port, SystemTime::now()) {
                        Accepted::Either
                    } else {
                        Accepted::Tls
                    }
                }
            },
        })
    }

    pub(super) async fn secure(&self, io: BoxIo, remote: SocketAddr) -> Result<Secured, MeshError> {
        let (model, _) = self.transport();
        match self.accepted(&model, remote)? {
            Accepted::Plaintext => {
                // Chosen for this listener, it is nobody's shortcoming.
                let counted = self.choice == TlsChoice::Policy;
                let source = counted.then(|| self.stats.plaintext_peer(remote.ip()));
                Ok(self.plaintext(io, source.flatten()))
            }
            Accepted::Tls => {
                let (first, io) = detect::first(io).await.map_err(broken)?;
                if first == First::Other {
                    // It is refused, and named: somebody believes that it may call.
                    drop(self.stats.plaintext_peer(remote.ip()));
                    self.handshakes.failed.increment(1);
                    let what = "plaintext where mutual TLS is demanded";
                    return Err(MeshError::new(ErrorKind::Identity, what));
                }
                self.handshake(&self.tls, Box::new(io), &model).await
            }
            Accepted::Join => self.handshake(&self.join, io, &model).await,
            Accepted::Either => {
                let first = match self.bytes {
                    None => detect::first(io).await,
                    Some(_) => detect::first_within(io, SERVER_FIRST).await,
                };
                let (first, io) = first.map_err(broken)?;
                let io: BoxIo = Box::new(io);
                if first == First::Tls {
                    return self.handshake(&self.tls, io, &model).await;
                }
                let source = self.stats.plaintext_peer(remote.ip());
                Ok(self.plaintext(io, source))
            }
        }
    }

    fn plaintext(&self, io: BoxIo, source: Option<Arc<Source>>) -> Secured {
        Secured {
            io,
            peer: None,
            source,
            tls: false,
            http: None,
        }
    }

    async fn handshake(
        &self,
        tls: &ServerTls,
        io: BoxIo,
        model: &TransportModel,
    ) -> Result<Secured, MeshError> {
        let accepted = match tls.at_least(model.min_version()).accept(io).await {
            Ok(accepted) => accepted,
            Err(error) => {
                self.handshakes.failed.increment(1);
                return Err(error);
            }
        };
        if let Some(peer) = &accepted.peer
            && !self.trusts(peer, model)
        {
            self.handshakes.failed.increment(1);
            let what = format!(
                "{} is of a trust domain that is not accepted",
                peer.as_str()
            );
            return Err(MeshError::new(ErrorKind::Identity, what));
        }
        self.handshakes.ok.increment(1);
        Ok(Secured {
            http: match accepted.alpn.as_deref() {
                Some(b"h2") => Some(Http::Two),
                Some(b"http/1.1") => Some(Http::One),
                _ => None,
            },
            io: accepted.io,
            peer: accepted.peer,
            source: None,
            tls: true,
        })
    }

    /// Whether the policy accepts callers of the peer's trust domain; none named is the own one.
    fn trusts(&self, peer: &SpiffeId, model: &TransportModel) -> bool {
        let domain = peer.trust_domain();
        if model.trust_domains().is_empty() {
            return self
                .credentials
                .identity()
                .is_none_or(|own| own.spiffe_id().trust_domain() == domain);
        }
        model
            .trust_domains()
            .iter()
            .any(|accepted| **accepted == *domain)
    }

    /// Why a live connection may not go on; `None` if it may.
    pub(super) fn revoked(
        &self,
        peer: Option<&SpiffeId>,
        tls: bool,
        remote: SocketAddr,
    ) -> Option<&'static str> {
        let (model, _) = self.transport();
        match peer {
            Some(peer) => {
                let known = self
                    .credentials
                    .trust()
                    .domains()
                    .any(|d| d == peer.trust_domain());
                (!known || !self.trusts(peer, &model)).then_some("trust was revoked [M4003]")
            }
            None if tls => None,
            None => matches!(
                self.accepted(&model, remote),
                Ok(Accepted::Tls | Accepted::Join) | Err(_)
            )
            .then_some("plaintext is no longer accepted [M4003]"),
        }
    }

    /// When a plaintext connection that only an exception lets in has to end.
    pub(super) fn excepted_for(&self, tls: bool, remote: SocketAddr) -> Option<Duration> {
        let by_policy = self.choice == TlsChoice::Policy && self.credentials.has_identity();
        if tls || !by_policy {
            return None;
        }
        let (now, port) = (SystemTime::now(), self.local.port());
        let (model, _) = self.transport();
        let end = model.plaintext_until(remote.ip(), port, now)?;
        Some(end.duration_since(now).unwrap_or_default())
    }

    async fn http<S: Answers>(self: Arc<Self>, service: S, opened: Opened) {
        let Opened {
            http,
            io,
            peer,
            tls,
            source,
            remote,
        } = opened;
        let phase = Phase::default();
        let mut gate = Gate::new(
            self.clone(),
            Rules::live(self.policy.clone(), self.service.clone()).within(&self.credentials),
            peer.clone(),
            tls,
            remote,
        );
        let info = ConnInfo {
            peer,
            local: Some(self.local),
            remote: Some(remote),
            tls,
        };
        let limits = &self.limits;
        let age = Age::of(limits);
        match http {
            Http::One => {
                let line = Line::new(Lingering::new(io));
                let dispatch = Dispatch::new(
                    &self,
                    service,
                    info,
                    source,
                    Some(line.clone()),
                    phase.clone(),
                );
                let io = TokioIo::new(Paced::new(line.clone(), limits.head, limits.idle));
                let mut builder = http1::Builder::new();
                if limits.header_fields != HYPERS_FIELDS {
                    builder.max_headers(limits.header_fields);
                }
                let connection = builder
                    // Answers after a client's FIN (boundaries: TCP).
                    .half_close(true)
                    .max_header_size(limits.header_bytes)
                    .max_buf_size(limits.header_bytes.max(64 * 1024) + 8 * 1024)
                    // Ours is in `pace`: it knows idle from slow.
                    .header_read_timeout(None)
                    .timer(TokioTimer::new())
                    .serve_connection(io, dispatch)
                    .with_upgrades();
                drive(connection, &mut gate, &phase, Some(LINGER), age, |c| {
                    c.graceful_shutdown()
                })
                .await;
                if let Some(tunnel) = line.tunnel() {
                    tunnel.watch(&mut gate, &self.tunnels).await;
                }
            }
            Http::Two => {
                let dispatch = Dispatch::new(&self, service, info, source, None, phase.clone());
                let connection = http2::Builder::new(Spawner)
                    .timer(TokioTimer::new())
                    .max_concurrent_streams(limits.streams)
                    .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
                    .max_pending_accept_reset_streams(RESETS)
                    .max_local_error_reset_streams(RESETS)
                    .keep_alive_interval(limits.ping)
                    .keep_alive_timeout(limits.ping_timeout)
                    .initial_stream_window_size(256 * 1024)
                    .initial_connection_window_size(1024 * 1024)
                    .serve_connection(TokioIo::new(Lingering::new(io)), dispatch);
                drive(connection, &mut gate, &phase, None, age, |c| {
                    c.graceful_shutdown()
                })
                .await;
            }
        }
    }
}

// === impl Age ===

impl Age {
    fn of(limits: &Limits) -> Self {
        let jitter = 0.9 + 0.2 * fastrand::f64();
        let end = limits
            .max_age
            .and_then(|age| tokio::time::Instant::now().checked_add(age.mul_f64(jitter)));
        end.map_or(Self::Endless, |end| Self::Until(end, limits.max_age_grace))
    }

    /// Waits for the next step: `false` to finish, `true` when that is over too. Cancel safe.
    async fn next(&mut self) -> bool {
        match *self {
            Self::Endless => std::future::pending().await,
            Self::Until(end, grace) => {
                tokio::time::sleep_until(end).await;
                let cut = grace.and_then(|grace| end.checked_add(grace));
                *self = cut.map_or(Self::Endless, Self::Finishing);
                false
            }
            Self::Finishing(cut) => {
                tokio::time::sleep_until(cut).await;
                true
            }
        }
    }
}

/// Polls a connection to its end, closing or cutting it when told to.
///
/// `finish` is hyper's graceful end: HTTP/2 sends GOAWAY and loses nothing. HTTP/1 closes an idle
/// connection at once, and with it a request that is on its way: there the answers of the last
/// moments say `connection: close`, and only a connection that stays silent for `linger` is closed.
async fn drive<C, E>(
    connection: C,
    gate: &mut Gate,
    phase: &Phase,
    linger: Option<Duration>,
    mut age: Age,
    finish: impl Fn(Pin<&mut C>),
) where
    C: Future<Output = Result<(), E>>,
    E: Display,
{
    let mut connection = pin!(connection);
    let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
    let (mut closing, mut finishing, mut lingering) = (false, false, false);
    loop {
        tokio::select! {
            biased;
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(target: "mesh::server", "connection ended: {error}");
                }
                return;
            }
            next = gate.next() => match next {
                Cut::Now(reason) => {
                    tracing::info!(
                        target: "mesh::server",
                        remote = %gate.remote(),
                        peer = gate.peer().map_or("-", |peer| peer.as_str()),
                        "connection cut: {reason}"
                    );
                    return;
                }
                Cut::Finish => closing = true,
            },
            over = age.next() => {
                if over {
                    tracing::info!(
                        target: "mesh::server",
                        remote = %gate.remote(),
                        "connection cut: it is too old, and so is its grace"
                    );
                    return;
                }
                match linger {
                    // The next answer says `connection: close`. Nobody is in a hurry: to close one
                    // that is idle could meet a request that is on its way.
                    Some(_) => drop(phase.close()),
                    None => closing = true,
                }
            }
            () = timer.as_mut(), if lingering => {
                lingering = false;
                finish(connection.as_mut());
            }
        }
        if closing && !finishing {
            finishing = true;
            phase.close();
            match linger {
                Some(linger) => {
                    timer.as_mut().reset(tokio::time::Instant::now() + linger);
                    lingering = true;
                }
                None => finish(connection.as_mut()),
            }
        }
    }
}
