//! One connection, from its first byte to its last.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use mesh_core::{
    error::{ErrorKind, MeshError},
    identity::SpiffeId,
    live::Live,
    name::ServiceName,
    policy::model::Snapshot,
};
use tokio::sync::watch;

use super::{
    Limits, TlsChoice,
    admit::Form,
    bytes,
    detect::{self, Http, Rewind},
    dispatch::{Answers, Dispatch, Phase},
    drive::{Age, drive},
    ingress::{Edge, Opening, Passed},
    line::Line,
    pace::Paced,
    signal::{Gate, Signal},
};
use crate::{
    access::Rules,
    report::{InboundStats, Source},
    runtime::Spawner,
    tcp::Application,
    telemetry::{Counter, Gauge},
    tls::{Credentials, Served, ServerTls},
    transport::{BoxIo, ConnInfo, Lingering},
};

/// How long a connection that is to be closed may still bring a request that was on its way.
const LINGER: Duration = Duration::from_secs(1);
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
    /// Clients are outside the mesh.
    pub(super) edge: Option<Edge>,
    /// A listener of bytes, not of requests.
    pub(super) bytes: Option<Arc<Application>>,
}

/// Counts handshakes by result.
pub(super) struct Handshakes {
    pub(super) ok: Counter,
    pub(super) failed: Counter,
}

/// What is known of a connection when its first request may come.
struct Opened {
    http: Http,
    io: Rewind<BoxIo>,
    peer: Option<SpiffeId>,
    tls: bool,
    source: Option<Arc<Source>>,
    remote: SocketAddr,
    /// What a client outside the mesh was shown.
    served: Option<Arc<Served>>,
}

/// What a connection brings.
enum Started {
    Requests(Opened),
    /// Bytes that a client outside sends to somebody else.
    Passed(Passed),
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
        let (secured, served) = match &shared.edge {
            None => (shared.secure(io, remote).await?, None),
            Some(edge) => match edge.open(&shared, io, remote).await? {
                Opening::Requests(secured, served) => (secured, served),
                Opening::Bytes(passed) => return Ok(Started::Passed(passed)),
            },
        };
        let (http, io) = match secured.http {
            Some(Http::Two) => {
                let io = detect::two(secured.io).await.map_err(broken)?;
                (Http::Two, io)
            }
            Some(Http::One) => (Http::One, Rewind::new(secured.io)),
            None => detect::http(secured.io).await.map_err(broken)?,
        };
        Ok::<_, MeshError>(Started::Requests(Opened {
            http,
            io,
            peer: secured.peer,
            tls: secured.tls,
            source: secured.source,
            remote,
            served,
        }))
    };
    let opened = match tokio::time::timeout(limit, start).await {
        Ok(Ok(Started::Requests(opened))) => opened,
        Ok(Ok(Started::Passed(passed))) => return passed.carry(&shared, remote).await,
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

pub(super) fn broken(error: io::Error) -> MeshError {
    MeshError::new(ErrorKind::Connect, "the connection broke before a request").with_source(error)
}

// === impl Shared ===

impl Shared {
    /// Who may come, by the access policy; outside the mesh nobody has an identity to be asked for.
    fn rules(&self) -> Rules {
        match self.edge {
            None => {
                Rules::live(self.policy.clone(), self.service.clone()).within(&self.credentials)
            }
            Some(_) => Rules::open(),
        }
    }

    async fn http<S: Answers>(self: Arc<Self>, service: S, opened: Opened) {
        let Opened {
            http,
            io,
            peer,
            tls,
            source,
            remote,
            served,
        } = opened;
        let phase = Phase::default();
        let mut gate = Gate::new(self.clone(), self.rules(), peer.clone(), tls, remote);
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
                    served,
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
                let dispatch =
                    Dispatch::new(&self, service, info, source, served, None, phase.clone());
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
