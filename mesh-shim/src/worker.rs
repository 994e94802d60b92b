//! Worker threads of the data path: one single-threaded runtime each, no work stealing, and pools
//! of their own.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http::uri::Authority;
use mesh_core::error::{ErrorKind, MeshError};
use mesh_tower::Mesh;
use mesh_tower::runtime::AbortOnDrop;
use mesh_tower::server::ServerHandle;
use mesh_tower::tcp::Carried;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{App, Config};
use crate::error::ShimError;
use crate::inbound;
use crate::listeners::{Listeners, WorkerListeners};
use crate::proxy::{Bytes, Named, Outbound, Tunnels};
use crate::transparent::{self, Requests};

/// Shorter than the timeouts of calls that are usual, and rare enough to cost nothing.
const NEAR: Duration = Duration::from_millis(500);

/// How the main thread tells the workers what time it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gates {
    inbound: CancellationToken,
    end: CancellationToken,
}

impl Gates {
    /// The application accepts: take requests for it.
    pub(crate) fn open_inbound(&self) {
        self.inbound.cancel();
    }

    /// The application has ended: nobody needs the workers any more.
    pub(crate) fn end(&self) {
        self.end.cancel();
    }
}

/// What one worker does.
struct Work {
    index: usize,
    mesh: Mesh,
    app: Option<App>,
    listeners: WorkerListeners,
    services: Vec<(Named, bool)>,
    tunnels: Arc<Tunnels>,
    gates: Gates,
}

/// Starts all workers. They end after [`Gates::end`].
pub(crate) fn start(
    config: &Config,
    mesh: &Mesh,
    tunnels: &Arc<Tunnels>,
    listeners: &mut Listeners,
    gates: &Gates,
) -> Result<Vec<JoinHandle<()>>, ShimError> {
    let failed = |what: &str, error: &std::io::Error| {
        ShimError::plain(
            format!("cannot start {what}: {error}"),
            "look at the process's limits",
        )
    };
    let services = services(config)?;
    let mut threads = Vec::with_capacity(config.workers.get());
    for index in 0..config.workers.get() {
        let Some(listeners) = listeners.worker(index) else {
            continue;
        };
        let work = Work {
            index,
            mesh: mesh.clone(),
            app: config.app,
            listeners,
            services: services.clone(),
            tunnels: tunnels.clone(),
            gates: gates.clone(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed("a runtime", &error))?;
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || {
                mesh_tower::runtime::set_worker_index(index);
                if let Err(error) = runtime.block_on(work.run()) {
                    tracing::error!(worker = index, "{error}");
                }
            })
            .map_err(|error| failed("a worker thread", &error))?;
        threads.push(thread);
    }
    Ok(threads)
}

/// The name that each explicit port's requests are addressed to, and whether it is of bytes for good.
fn services(config: &Config) -> Result<Vec<(Named, bool)>, ShimError> {
    let parse = |name: &str| {
        // `shop/reviews` is no host name; `reviews.shop` is.
        let name = name.split_once('/').map_or_else(
            || name.to_owned(),
            |(namespace, name)| format!("{name}.{namespace}"),
        );
        let named = name.parse::<Authority>().ok();
        named
            .and_then(|authority| authority.try_into().ok())
            .ok_or_else(|| {
                ShimError::configuration(
                    format!("upstream `{name}` is not the name of a service"),
                    "write --upstream reviews=127.0.0.1:9001 or --upstream reviews.shop:8080=...",
                )
            })
    };
    config
        .upstreams
        .iter()
        .map(|upstream| Ok((parse(&upstream.service)?, upstream.tcp)))
        .collect()
}

/// A timer that is set and is earlier than all others wakes tokio's driver: a write, and a wait that returns
/// at once. Where calls come one by one, the timer of each is such a timer, and the two system calls are a
/// tenth of what it costs. One that is always earlier spares them.
async fn keep_a_timer_near() {
    loop {
        tokio::time::sleep(NEAR).await;
    }
}

impl Work {
    async fn run(self) -> Result<(), MeshError> {
        let Self {
            index,
            mesh,
            app,
            listeners,
            services,
            tunnels,
            gates,
        } = self;
        let _near = AbortOnDrop::spawn(keep_a_timer_near());
        let mut outbound = Vec::new();
        let tunnels_open = TaskTracker::new();
        let carried = Carried::new();
        let sorting = TaskTracker::new();
        if let Some(listener) = listeners.transparent {
            let listener = tokio_listener(listener)?;
            let local = listener.local_addr().map_err(unusable)?;
            let (tunnels, open) = (tunnels.clone(), tunnels_open.clone());
            let requests = Arc::new(Requests::new(&mesh, local, tunnels, open)?);
            let (carried, end) = (carried.clone(), gates.end.clone());
            sorting.spawn(transparent::serve(
                mesh.clone(),
                listener,
                requests,
                carried,
                end,
            ));
        }
        if let Some(listener) = listeners.sni {
            let listener = tokio_listener(listener)?;
            let (carried, end) = (carried.clone(), gates.end.clone());
            sorting.spawn(transparent::serve_sni(mesh.clone(), listener, carried, end));
        }
        if let Some(listener) = listeners.outbound {
            let proxy = Outbound::proxy(&mesh, tunnels, tunnels_open.clone());
            outbound.push(proxy.serve(&mesh, listener)?);
        }
        for (listener, (service, always)) in listeners.upstreams.into_iter().zip(services) {
            let client = mesh.tcp(service.as_str());
            let bytes = Bytes { client, always };
            let port = Outbound::port(mesh.client(service.as_str()), service);
            outbound.push(port.serve_or_carry(&mesh, listener, bytes, &carried)?);
        }
        if let (Some(app), Some(listener)) = (app, listeners.inbound)
            && gates
                .end
                .run_until_cancelled(gates.inbound.cancelled())
                .await
                .is_some()
        {
            match inbound::serve(&mesh, app, listener) {
                // Ends with the mesh's drain.
                Ok(server) => drop(gates.end.run_until_cancelled(server.done()).await),
                Err(error) => tracing::error!(worker = index, "inbound: {error}"),
            }
        }
        gates.end.cancelled().await;
        // A little less than the main thread waits for this one.
        let within = mesh.drain().timing().in_flight * 9 / 10;
        sorting.close();
        futures_util::future::join3(
            sorting.wait(),
            futures_util::future::join_all(outbound.iter().map(ServerHandle::shutdown)),
            carried.end(within),
        )
        .await;
        // Tunnels end with the application, which has ended.
        Ok(())
    }
}

fn tokio_listener(listener: std::net::TcpListener) -> Result<tokio::net::TcpListener, MeshError> {
    tokio::net::TcpListener::from_std(listener).map_err(unusable)
}

fn unusable(error: std::io::Error) -> MeshError {
    MeshError::new(ErrorKind::Internal, format!("local listener: {error}"))
}
