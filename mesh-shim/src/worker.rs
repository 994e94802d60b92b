//! Worker threads of the data path: one single-threaded runtime each, no work stealing, and pools
//! of their own. However many applications there are, the threads are the same.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http::uri::Authority;
use mesh_core::error::{ErrorKind, MeshError};
use mesh_tower::Mesh;
use mesh_tower::runtime::AbortOnDrop;
use mesh_tower::server::ServerHandle;
use mesh_tower::tcp::Carried;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{App, Application};
use crate::error::ShimError;
use crate::inbound;
use crate::ingress::Setup;
use crate::listeners::WorkerListeners;
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

/// What one worker does for one application.
struct Work {
    index: usize,
    mesh: Mesh,
    app: Option<App>,
    listeners: WorkerListeners,
    plan: Plan,
    tunnels: Arc<Tunnels>,
    gates: Gates,
}

/// What is known of an application's listeners before any of them is opened.
#[derive(Clone)]
pub(crate) struct Plan {
    /// The name that each explicit port's requests are addressed to, and whether it is of bytes for
    /// good.
    services: Vec<(Named, bool)>,
    pub(crate) ingress: Setup,
}

/// The threads. Each does the work of every application on its one runtime.
pub(crate) struct Workers {
    threads: Vec<(mpsc::UnboundedSender<Work>, JoinHandle<()>)>,
}

impl Workers {
    /// Starts them, with nothing to do.
    pub(crate) fn start(count: usize) -> Result<Self, ShimError> {
        let failed = |what: &str, error: &std::io::Error| {
            ShimError::plain(
                format!("cannot start {what}: {error}"),
                "look at the process's limits",
            )
        };
        let mut threads = Vec::with_capacity(count);
        for index in 0..count {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| failed("a runtime", &error))?;
            let (give, works) = mpsc::unbounded_channel();
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || {
                    mesh_tower::runtime::set_worker_index(index);
                    runtime.block_on(work(index, works));
                })
                .map_err(|error| failed("a worker thread", &error))?;
            threads.push((give, thread));
        }
        Ok(Self { threads })
    }

    /// Gives all of them the work of an application, which ends after [`Gates::end`].
    pub(crate) fn give(
        &self,
        mesh: &Mesh,
        app: Option<App>,
        listeners: Vec<WorkerListeners>,
        plan: &Plan,
        tunnels: &Arc<Tunnels>,
        gates: &Gates,
    ) {
        for (index, ((give, _), listeners)) in self.threads.iter().zip(listeners).enumerate() {
            let work = Work {
                index,
                mesh: mesh.clone(),
                app,
                listeners,
                plan: plan.clone(),
                tunnels: tunnels.clone(),
                gates: gates.clone(),
            };
            if give.send(work).is_err() {
                tracing::error!(worker = index, "a worker has ended");
            }
        }
    }

    /// Waits until all have ended what they were given, at most `within`.
    pub(crate) async fn end(self, within: Duration) {
        let joined = tokio::task::spawn_blocking(move || {
            let (gives, threads): (Vec<_>, Vec<_>) = self.threads.into_iter().unzip();
            drop(gives);
            let ended = threads.into_iter().map(JoinHandle::join);
            ended.filter(Result::is_err).count()
        });
        if !matches!(tokio::time::timeout(within, joined).await, Ok(Ok(0))) {
            tracing::error!("a worker did not end in order");
        }
    }
}

/// The life of a worker: until nobody can give it anything, and all is done.
async fn work(index: usize, mut works: mpsc::UnboundedReceiver<Work>) {
    let _near = AbortOnDrop::spawn(keep_a_timer_near());
    let mut running = JoinSet::new();
    let mut open = true;
    while open || !running.is_empty() {
        let ended = tokio::select! {
            work = works.recv(), if open => {
                match work {
                    Some(work) => drop(running.spawn(work.run())),
                    None => open = false,
                }
                continue;
            }
            Some(ended) = running.join_next() => ended,
        };
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(worker = index, "{error}"),
            Err(error) => tracing::error!(worker = index, "a worker's task: {error}"),
        }
    }
}

impl Plan {
    pub(crate) fn of(application: &Application) -> Result<Self, ShimError> {
        Ok(Self {
            services: services(application)?,
            ingress: Setup::new(&application.ingress)?,
        })
    }
}

fn services(application: &Application) -> Result<Vec<(Named, bool)>, ShimError> {
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
    application
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
            plan,
            tunnels,
            gates,
        } = self;
        let Plan { services, ingress } = plan;
        let mut outbound = Vec::new();
        let tunnels_open = TaskTracker::new();
        let carried = Carried::new();
        let sorting = TaskTracker::new();
        for listener in listeners.transparent {
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
        // They end with the mesh's drain, as the inbound does.
        let mut edge = Vec::new();
        for (listener, listen) in listeners.ingress.into_iter().zip(ingress.listens()) {
            edge.push(ingress.serve(&mesh, *listen, listener)?);
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
