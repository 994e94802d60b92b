use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tower_layer::Layer;
use tower_service::Service as _;

use super::Behaviour;
use super::record::Record;
use crate::BoxError;
use crate::body::MeshBody;
use crate::client::MeshClient;
use crate::server::ServerLayer;
use crate::transport::{BoxIo, ConnInfo};

/// How much an in-memory connection holds, in bytes.
const PIPE: usize = 64 * 1024;

/// A process that serves one service.
pub(super) struct Host {
    pub(super) name: String,
    pub(super) addr: SocketAddr,
    pub(super) zone: Option<String>,
    pub(super) across_zones: Duration,
    /// As at the start, for healing.
    pub(super) first: Behaviour,
    record: Arc<Record>,
    state: Mutex<State>,
    /// Set once, after the network is complete: clients need it.
    mesh: OnceLock<InMesh>,
}

/// What a host in the mesh has besides.
pub(super) struct InMesh {
    pub(super) layer: ServerLayer,
    pub(super) calls: Vec<MeshClient>,
}

struct State {
    behaviour: Behaviour,
    capacity: Capacity,
    rng: fastrand::Rng,
    connections: Vec<tokio::task::AbortHandle>,
}

/// Places to work, and to wait for one.
#[derive(Clone)]
struct Capacity {
    at_once: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// What a request comes to, drawn when it arrives.
struct Fate {
    takes: Duration,
    fails: bool,
    behaviour: Behaviour,
    capacity: Capacity,
}

// === impl Host ===

impl Host {
    pub(super) fn new(
        name: String,
        addr: SocketAddr,
        zone: Option<String>,
        across_zones: Duration,
        behaviour: Behaviour,
        record: Arc<Record>,
        seed: u64,
    ) -> Self {
        Self {
            name,
            addr,
            zone,
            across_zones,
            record,
            state: Mutex::new(State {
                capacity: Capacity::of(&behaviour),
                behaviour: behaviour.clone(),
                rng: fastrand::Rng::with_seed(seed),
                connections: Vec::new(),
            }),
            first: behaviour,
            mesh: OnceLock::new(),
        }
    }

    pub(super) fn join(&self, mesh: InMesh) {
        let _ = self.mesh.set(mesh);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn behave(&self, behaviour: Behaviour) {
        let mut state = self.state();
        if behaviour.down {
            for connection in state.connections.drain(..) {
                connection.abort();
            }
        }
        let before = &state.behaviour;
        if (before.capacity, before.queue) != (behaviour.capacity, behaviour.queue) {
            state.capacity = Capacity::of(&behaviour);
        }
        state.behaviour = behaviour;
    }

    pub(super) fn accept(
        self: &Arc<Self>,
        from: ConnInfo,
        zone: Option<&str>,
    ) -> io::Result<BoxIo> {
        if self.state().behaviour.down {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let same = match (zone, &self.zone) {
            (Some(theirs), Some(ours)) => theirs == ours,
            _ => true,
        };
        let way = if same {
            Duration::ZERO
        } else {
            self.across_zones
        };
        let (near, far) = tokio::io::duplex(PIPE);
        let host = Arc::downgrade(self);
        let serve = async move {
            // A client that goes away is no fault of the simulation.
            let _ = serve(host, far, from, way).await;
        };
        let task = tokio::spawn(serve);
        let mut state = self.state();
        state.connections.retain(|task| !task.is_finished());
        state.connections.push(task.abort_handle());
        Ok(Box::new(near))
    }

    fn fate(&self) -> Fate {
        let mut state = self.state();
        let State {
            behaviour,
            capacity,
            rng,
            ..
        } = &mut *state;
        let fails = behaviour.fail > 0.0 && rng.f64() < behaviour.fail;
        let latency = match (fails, behaviour.fail_latency) {
            (true, Some(latency)) => latency,
            _ => behaviour.latency,
        };
        Fate {
            takes: latency.sample(rng),
            fails,
            behaviour: behaviour.clone(),
            capacity: capacity.clone(),
        }
    }

    /// The application.
    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        way: Duration,
    ) -> Result<Response<MeshBody>, Infallible> {
        self.record.arrived(&self.name);
        let (head, body) = request.into_parts();
        if body.collect().await.is_err() {
            return Ok(answer(400));
        }
        if !way.is_zero() {
            tokio::time::sleep(way).await;
        }
        let fate = self.fate();
        if fate.behaviour.hang {
            std::future::pending::<()>().await;
        }
        let Ok(waiting) = fate.capacity.waiting.try_acquire() else {
            return Ok(refusal(503, fate.behaviour.retry_after));
        };
        let Ok(_working) = fate.capacity.at_once.acquire().await else {
            return Ok(answer(503));
        };
        drop(waiting);
        tokio::time::sleep(fate.takes).await;
        if let Some(mesh) = self.mesh.get() {
            for client in &mesh.calls {
                if let Err(why) = called(client, head.uri.path()).await {
                    self.record
                        .line(&format!("{}: its own call: {why}", self.name));
                    return Ok(answer(502));
                }
            }
        }
        if !fate.fails {
            return Ok(answer(200));
        }
        let status = fate.behaviour.fail_status;
        Ok(refusal(status, fate.behaviour.retry_after))
    }
}

/// A call to the next service; why it was not good.
async fn called(client: &MeshClient, path: &str) -> Result<(), BoxError> {
    let request = Request::get(path).body(MeshBody::empty())?;
    let response = client.clone().call(request).await?;
    let status = response.status();
    response.into_body().collect().await?;
    if status.is_server_error() {
        return Err(status.as_str().into());
    }
    Ok(())
}

async fn serve(
    host: Weak<Host>,
    io: tokio::io::DuplexStream,
    from: ConnInfo,
    way: Duration,
) -> Result<(), BoxError> {
    let Some(first) = host.upgrade() else {
        return Ok(());
    };
    let http = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    let handle = move |request: Request<Incoming>| {
        let host = host.upgrade();
        async move {
            match host {
                Some(host) => host.handle(request, way).await,
                None => Ok(answer(503)),
            }
        }
    };
    let layer = first.mesh.get().map(|mesh| mesh.layer.clone());
    drop(first);
    match layer {
        None => {
            http.serve_connection(TokioIo::new(io), service_fn(handle))
                .await
        }
        Some(layer) => {
            let served = layer.layer(tower::service_fn(handle));
            let known = tower::util::MapRequest::new(served, move |mut request: Request<_>| {
                request.extensions_mut().insert(from.clone());
                request
            });
            http.serve_connection(TokioIo::new(io), TowerToHyperService::new(known))
                .await
        }
    }
}

/// A failing answer, with when to come again if the host says that.
fn refusal(status: u16, retry_after: Option<u32>) -> Response<MeshBody> {
    let mut response = answer(status);
    if let Some(seconds) = retry_after {
        let value = HeaderValue::from(seconds);
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

fn answer(status: u16) -> Response<MeshBody> {
    let mut response = Response::new(MeshBody::empty());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    response
}

// === impl Capacity ===

impl Capacity {
    fn of(behaviour: &Behaviour) -> Self {
        let at_once = match behaviour.capacity {
            0 => Semaphore::MAX_PERMITS,
            some => some,
        };
        Self {
            at_once: Arc::new(Semaphore::new(at_once)),
            // Who finds a place at once passes through the queue.
            waiting: Arc::new(Semaphore::new(behaviour.queue.saturating_add(1))),
        }
    }
}
