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
use mesh_tower::mesh::{Serving, ServingGuard};
use mesh_tower::runtime::{Notice, notify};
use rustix::process::Signal;
use tokio::sync::watch;

use crate::admin::{self, Readiness};
use crate::config::{App, Config, DrainTimes};
use crate::error::ShimError;
use crate::listeners::{Listeners, Ports};
use crate::proxy::Tunnels;
use crate::supervise::{Child, Exit, Received, Signals, accepts};
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
    let mut listeners = Listeners::open(&config)?;
    let ports = listeners.ports().clone();
    let (readiness, watched) = watch::channel(Readiness::Starting);
    let pages = admin::health(watched);
    let health = tokio::spawn(pages.clone().serve(listeners.health()?));

    let mesh = tokio::select! {
        mesh = join::join(&config) => mesh?,
        exit = stopped(&mut signals) => return Ok(exit.code()),
    };
    let DrainTimes { unready, in_flight } = config.drain;
    mesh.drain().set_timing(Timing { unready, in_flight });
    let tunnels = Arc::new(Tunnels::default());
    let pages = admin::metrics(pages, mesh.clone(), tunnels.clone());
    let metrics = tokio::spawn(pages.serve(listeners.metrics()?));

    let gates = worker::Gates::default();
    let threads = worker::start(&config, &mesh, &tunnels, &mut listeners, &gates)?;
    let mut shim = Shim {
        config: &config,
        mesh,
        signals,
        readiness,
        gates,
        announced: None,
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
    health.abort();
    metrics.abort();
    exit.map(Exit::code)
}

struct Shim<'a> {
    config: &'a Config,
    mesh: Mesh,
    signals: Signals,
    readiness: watch::Sender<Readiness>,
    gates: worker::Gates,
    /// The entry in the registry, for as long as this is kept.
    announced: Option<ServingGuard>,
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
        self.say(Readiness::Ready, Notice::Ready);
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

    /// On `/readyz`, and to the service manager.
    fn say(&self, readiness: Readiness, notice: Notice) {
        self.readiness.send_replace(readiness);
        if let Err(error) = notify(notice) {
            tracing::warn!("the service manager was not told {notice:?}: {error}");
        }
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

/// Ready when the shim is asked to stop before it began.
async fn stopped(signals: &mut Signals) -> Exit {
    loop {
        if let Received::Stop(signal) = signals.next().await {
            return Exit::Signal(signal.as_raw());
        }
    }
}
