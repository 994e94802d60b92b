//! From configuration to exit code: join, listen, start the application, serve, drain, end.
//!
//! ```text
//! join -> outbound listeners -> start CMD -> its port accepts -> inbound, registered, ready
//!   SIGTERM/SIGINT: unready -> pause -> in flight ends -> the signal goes to CMD -> its code
//!   CMD ends by itself: deregister -> its code
//! ```
//!
//! The main thread has joining, health, metrics and the application's process; the workers have
//! the traffic.

use std::sync::Arc;
use std::time::Duration;

use mesh_tower::Mesh;
use mesh_tower::drain::Timing;
use mesh_tower::mesh::{AdminPages, Serving, ServingGuard};
use mesh_tower::runtime::{AbortOnDrop, Notice, notify};
use rustix::process::Signal;
use tokio::sync::watch;

use crate::admin::{self, Readiness};
use crate::config::{App, Config, DrainTimes};
use crate::error::ShimError;
use crate::listeners::{Listeners, Ports};
use crate::proxy::Tunnels;
use crate::supervise::{Child, Exit, Received, Signals, accepts};
use crate::takeover::{self, Giving, Taken};
use crate::{join, worker};

/// With the application gone, answers that are on their way may still take this long.
const LEAVE_WITHIN: Duration = Duration::from_millis(500);

/// Runs the shim; gives its exit code.
pub(crate) async fn run(config: Config, on_ready: impl FnOnce(&Ports)) -> Result<u8, ShimError> {
    let mut signals = Signals::new().map_err(|error| {
        ShimError::plain(
            format!("cannot take signals: {error}"),
            "look at the process's limits",
        )
    })?;
    let mut taken = match &config.takeover {
        Some(path) => takeover::take(path).map_err(|error| {
            ShimError::plain(
                format!("cannot take over at {}: {error}", path.display()),
                "end the shim that runs, or give another --takeover",
            )
        })?,
        None => Taken::default(),
    };
    let mut listeners = Listeners::open(&config, &mut taken)?;
    let ports = listeners.ports().clone();
    let (readiness, watched) = watch::channel(Readiness::Starting);
    let pages = admin::health(watched);
    let mut pages = Pages::new(pages, &mut listeners, &taken)?;

    let mesh = tokio::select! {
        mesh = join::join(&config) => mesh?,
        exit = stopped(&mut signals) => return Ok(exit.code()),
    };
    let DrainTimes { unready, in_flight } = config.drain;
    mesh.drain().set_timing(Timing { unready, in_flight });
    let tunnels = Arc::new(Tunnels::new(config.egress));
    pages.joined(&mesh, &tunnels);

    let gates = worker::Gates::default();
    let threads = worker::start(&config, &mesh, &tunnels, &mut listeners, &gates)?;
    let mut shim = Shim {
        config: &config,
        mesh,
        signals,
        readiness,
        gates,
        announced: None,
        pages,
        taken,
        kept: listeners.kept(),
        giving: None,
    };
    let exit = shim.live(&ports, on_ready).await;
    shim.gates.end();
    let joined = tokio::task::spawn_blocking(move || {
        threads
            .into_iter()
            .filter_map(|thread| thread.join().err())
            .count()
    });
    // The workers let answers to the application end; the drain's time bounds that.
    if !matches!(
        tokio::time::timeout(config.drain.in_flight, joined).await,
        Ok(Ok(0))
    ) {
        tracing::error!("a worker did not end in order");
    }
    exit.map(Exit::code)
}

/// Health and metrics, each on a listener of its own. After a takeover they are the predecessor's
/// until this shim is ready, and closed at once when a successor is.
struct Pages {
    waiting: Vec<(AdminPages, tokio::net::TcpListener)>,
    health: AdminPages,
    metrics: Option<tokio::net::TcpListener>,
    held: bool,
    running: Vec<AbortOnDrop>,
}

impl Pages {
    fn new(
        health: AdminPages,
        listeners: &mut Listeners,
        taken: &Taken,
    ) -> Result<Self, ShimError> {
        let mut pages = Self {
            waiting: vec![(health.clone(), listeners.health()?)],
            health,
            metrics: Some(listeners.metrics()?),
            held: taken.is_any(),
            running: Vec::new(),
        };
        pages.serve();
        Ok(pages)
    }

    /// There is something to measure.
    fn joined(&mut self, mesh: &Mesh, tunnels: &Arc<Tunnels>) {
        if let Some(listener) = self.metrics.take() {
            let pages = admin::metrics(self.health.clone(), mesh.clone(), tunnels.clone());
            self.waiting.push((pages, listener));
        }
        self.serve();
    }

    fn serve(&mut self) {
        if self.held {
            return;
        }
        for (pages, listener) in self.waiting.drain(..) {
            self.running.push(AbortOnDrop::spawn(pages.serve(listener)));
        }
    }

    /// Nobody else answers any more.
    fn release(&mut self) {
        self.held = false;
        self.serve();
    }

    fn close(&mut self) {
        self.running.clear();
    }
}

struct Shim<'a> {
    config: &'a Config,
    mesh: Mesh,
    signals: Signals,
    readiness: watch::Sender<Readiness>,
    gates: worker::Gates,
    /// The entry in the registry, for as long as this is kept.
    announced: Option<ServingGuard>,
    pages: Pages,
    taken: Taken,
    /// Copies of the listeners for a successor.
    kept: takeover::Shared,
    giving: Option<Giving>,
}

impl Shim<'_> {
    async fn live(
        &mut self,
        ports: &Ports,
        on_ready: impl FnOnce(&Ports),
    ) -> Result<Exit, ShimError> {
        let mut child = None;
        if !self.config.command.is_empty() {
            let port = self.config.app.map(|app| app.addr.port());
            child = Some(Child::start(&self.config.command, port, ports.outbound)?);
        }
        if let Some(app) = self.config.app {
            if let Some(exit) = self.until_accepting(app, &mut child).await? {
                self.leave().await;
                return Ok(exit);
            }
            self.gates.open_inbound();
            let addr = self.config.advertise.or(ports.inbound);
            self.announced = addr.map(|addr| {
                self.mesh
                    .announce(Serving::new(addr, self.mesh.service_name().clone()))
            });
        }
        self.relieve()?;
        tracing::info!("ready: {ports}");
        on_ready(ports);
        let signal = loop {
            let ended = async {
                match &mut child {
                    Some(child) => child.wait().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                exit = ended => {
                    tracing::info!("the application ended: {exit}");
                    self.say(Readiness::Draining, Notice::Stopping);
                    self.leave().await;
                    return Ok(exit);
                }
                () = handed_over(&mut self.giving) => {
                    self.hand_over().await;
                    return Ok(Exit::Code(0));
                }
                received = self.signals.next() => match received {
                    Received::Stop(signal) => break signal,
                    Received::Pass(signal) => {
                        if let Some(child) = &child {
                            child.signal(signal);
                        }
                    }
                },
            }
        };
        self.say(Readiness::Draining, Notice::Stopping);
        tracing::info!(?signal, "draining");
        self.drain(&mut child, signal).await
    }

    /// Ready: whoever is taken over from stops accepting, and a successor may come.
    fn relieve(&mut self) -> Result<(), ShimError> {
        let succeeds = self.taken.is_any();
        self.taken.ready().map_err(|error| {
            ShimError::plain(
                format!("the shim that is taken over from does not answer: {error}"),
                "look whether it still runs, and start this one again",
            )
        })?;
        self.pages.release();
        if let Some(path) = &self.config.takeover {
            let giving = Giving::start(path, self.kept.clone()).map_err(|error| {
                ShimError::plain(
                    format!("cannot listen on {}: {error}", path.display()),
                    "give --takeover a path in a directory that the shim may write to",
                )
            })?;
            self.giving = Some(giving);
            // As long as a copy is open, the kernel completes connections that nobody accepts.
            let (kept, draining) = (self.kept.clone(), self.mesh.drain().draining());
            self.mesh.spawn(async move {
                draining.await;
                kept.let_go();
            });
        }
        let notice = if succeeds {
            Notice::Successor
        } else {
            Notice::Ready
        };
        self.say(Readiness::Ready, notice);
        Ok(())
    }

    /// A successor accepts: what is in flight ends, and the registry hears nothing of it.
    async fn hand_over(&mut self) {
        tracing::info!("a successor is ready: draining");
        self.pages.close();
        self.mesh.hand_over();
        self.mesh.drain().set_timing(Timing {
            unready: Duration::ZERO,
            in_flight: self.config.drain.in_flight,
        });
        self.mesh.shutdown().await;
    }

    /// On `/readyz`, and to the service manager.
    fn say(&self, readiness: Readiness, notice: Notice) {
        self.readiness.send_replace(readiness);
        notify(notice);
    }

    /// Waits for the application's port. `Some` when the shim is to end instead.
    async fn until_accepting(
        &mut self,
        app: App,
        child: &mut Option<Child>,
    ) -> Result<Option<Exit>, ShimError> {
        tracing::info!("waiting for the application to accept on {}", app.addr);
        let accepting = accepts(app.addr, app.ready_within);
        tokio::pin!(accepting);
        loop {
            let ended = async {
                match child {
                    Some(child) => child.wait().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                exit = ended => {
                    tracing::error!("the application ended before its port {} accepted: {exit}", app.addr.port());
                    return Ok(Some(exit));
                }
                accepted = accepting.as_mut() => {
                    if accepted {
                        return Ok(None);
                    }
                    if let Some(child) = child {
                        child.signal(Signal::TERM);
                    }
                    return Err(ShimError::configuration(
                        format!("the application does not accept on {} after {:?}", app.addr, app.ready_within),
                        "check --port and --app-address, or give it longer with --app-ready",
                    ));
                }
                received = self.signals.next() => {
                    let (Received::Stop(signal) | Received::Pass(signal)) = received;
                    match child {
                        // It decides what becomes of it; its end is seen above.
                        Some(child) => child.signal(signal),
                        None if matches!(received, Received::Stop(_)) => {
                            return Ok(Some(Exit::Code(0)));
                        }
                        None => {}
                    }
                }
            }
        }
    }

    /// Out of the mesh at once: there is no application that could serve what is in flight.
    async fn leave(&mut self) {
        self.announced = None;
        self.mesh.drain().set_timing(Timing {
            unready: Duration::ZERO,
            in_flight: LEAVE_WITHIN,
        });
        self.mesh.shutdown().await;
    }

    /// In order: out of the mesh, then the application.
    async fn drain(&mut self, child: &mut Option<Child>, first: Signal) -> Result<Exit, ShimError> {
        self.announced = None;
        let mesh = self.mesh.clone();
        let draining = mesh.shutdown();
        tokio::pin!(draining);
        let mut signal = first;
        loop {
            let ended = async {
                match child {
                    Some(child) => child.wait().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                exit = ended => return Ok(exit),
                () = draining.as_mut() => break,
                received = self.signals.next() => match received {
                    // Asked twice: no more patience.
                    Received::Stop(second) => {
                        signal = second;
                        break;
                    }
                    Received::Pass(signal) => {
                        if let Some(child) = child {
                            child.signal(signal);
                        }
                    }
                },
            }
        }
        let Some(child) = child else {
            return Ok(Exit::Code(0));
        };
        child.signal(signal);
        loop {
            tokio::select! {
                biased;
                exit = child.wait() => return Ok(exit),
                received = self.signals.next() => {
                    let (Received::Stop(signal) | Received::Pass(signal)) = received;
                    child.signal(signal);
                }
            }
        }
    }
}

async fn handed_over(giving: &mut Option<Giving>) {
    match giving {
        Some(giving) => giving.handed_over().await,
        None => std::future::pending().await,
    }
}

/// Ready when the shim is asked to stop before it began.
async fn stopped(signals: &mut Signals) -> Exit {
    loop {
        if let Received::Stop(signal) = signals.next().await {
            return Exit::Signal(signal.as_raw());
        }
    }
}
