//! From configuration to exit code: join, listen, start the application, serve, drain, end.
//!
//! ```text
//! join -> outbound listeners -> start CMD -> its port accepts -> inbound, registered, ready
//!   SIGTERM/SIGINT: unready -> pause -> in flight ends -> the signal goes to CMD -> its code
//!   CMD ends by itself: deregister -> its code
//! ```
//!
//! One application or several (`--app`), each takes these steps by itself; the stop is one for all. A
//! single one that cannot join or does not accept ends the shim. Of several, one that cannot is told
//! of, waited for and tried again, and the others serve; when none can join at first, it ends too.
//!
//! The main thread has joining, health, metrics and the application's process; the workers have
//! the traffic.

mod drain;
mod member;
mod pages;
mod refuse;
mod start;

use std::collections::BTreeSet;

use mesh_tower::runtime::{AbortOnDrop, Notice, notify};
use rustix::process::Signal;
use tokio::sync::mpsc;

use self::member::{Member, Stage};
use self::pages::Pages;
use self::start::{Patience, Told};
use crate::admin::{Board, Readiness};
use crate::config::Config;
use crate::error::ShimError;
use crate::join::How;
use crate::listeners::{Listeners, Ports};
use crate::supervise::{Child, Exit, Received, Signals};
use crate::takeover::{self, Giving, Taken};
use crate::worker::{Plan, Workers};

/// Runs the shim; gives its exit code.
pub(crate) async fn run(config: Config, on_ready: impl FnOnce(&Ports)) -> Result<u8, ShimError> {
    let signals = Signals::new().map_err(|error| {
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
    let plans = config.applications.iter().map(Plan::of);
    let plans = plans.collect::<Result<_, _>>()?;
    let mut listeners = Listeners::open(&config, &mut taken)?;
    let board = Board::new(&config);
    let pages = Pages::new(&board, &mut listeners, taken.is_any())?;
    let workers = Workers::start(config.workers.get())?;
    let patience = Patience {
        // A newcomer that cannot do all that it should leaves it to the one that runs.
        join: config.node && !taken.is_any(),
        port: config.node,
    };
    let (tell, steps) = mpsc::unbounded_channel();
    let how = How::of(&config);
    let starting = config.applications.iter().enumerate().map(|(index, one)| {
        let start = start::start(index, one.clone(), how, patience, tell.clone());
        AbortOnDrop::spawn(start)
    });
    let mut shim = Shim {
        starting: starting.collect(),
        members: config.applications.iter().map(Member::new).collect(),
        config: &config,
        patience,
        signals,
        board,
        steps,
        plans,
        kept: listeners.kept(),
        listeners,
        workers,
        pages,
        taken,
        relieved: false,
        giving: None,
        child: None,
    };
    let exit = shim.live(on_ready).await;
    let Shim {
        members, workers, ..
    } = shim;
    for member in &members {
        member.gates.end();
    }
    // The workers let answers to the applications end; the drain's time bounds that.
    workers.end(config.drain.in_flight).await;
    drain::send_spans(&members).await;
    exit.map(Exit::code)
}

struct Shim<'a> {
    config: &'a Config,
    patience: Patience,
    signals: Signals,
    board: Board,
    steps: mpsc::UnboundedReceiver<Told>,
    starting: Vec<AbortOnDrop>,
    /// What is known of the ports of each application.
    plans: Vec<Plan>,
    listeners: Listeners,
    workers: Workers,
    /// By the application's place in the configuration.
    members: Vec<Member>,
    pages: Pages,
    taken: Taken,
    /// The start is over, and whoever was taken over from has been told.
    relieved: bool,
    /// Copies of the listeners for a successor.
    kept: takeover::Shared,
    giving: Option<Giving>,
    child: Option<Child>,
}

// === impl Shim ===

impl Shim<'_> {
    async fn live(&mut self, on_ready: impl FnOnce(&Ports)) -> Result<Exit, ShimError> {
        let mut on_ready = Some(on_ready);
        let signal = loop {
            tokio::select! {
                biased;
                exit = ended(&mut self.child) => {
                    if self.relieved {
                        tracing::info!("the application ended: {exit}");
                        self.say(&Readiness::Draining, Notice::Stopping);
                    } else {
                        tracing::error!("the application ended before its port accepted: {exit}");
                    }
                    self.leave().await;
                    return Ok(exit);
                }
                Some((index, step)) = self.steps.recv() => {
                    if let Err(error) = self.step(index, step) {
                        if let Some(child) = &self.child {
                            child.signal(Signal::TERM);
                        }
                        return Err(error);
                    }
                    if self.is_settled() && !self.relieved {
                        if let Some(error) = self.all_refused() {
                            return Err(error);
                        }
                        self.relieve()?;
                        let ports = self.listeners.ports();
                        tracing::info!("ready: {ports}");
                        if let Some(on_ready) = on_ready.take() {
                            on_ready(ports);
                        }
                    }
                }
                used = handed_over(&mut self.giving) => {
                    self.hand_over(&used).await;
                    return Ok(Exit::Code(0));
                }
                received = self.signals.next() => match (received, &self.child) {
                    // Before it accepts, it decides what becomes of it; its end is seen above.
                    (Received::Stop(signal), Some(child)) if !self.relieved => child.signal(signal),
                    (Received::Stop(signal), _) => break signal,
                    (Received::Pass(signal), Some(child)) => child.signal(signal),
                    (Received::Pass(_), None) => {}
                },
            }
        };
        if self.members.iter().all(|member| member.mesh.is_none()) {
            return Ok(Exit::Signal(signal.as_raw()));
        }
        if self
            .members
            .iter()
            .all(|member| member.stage != Stage::Accepts)
        {
            self.leave().await;
            return Ok(Exit::Code(0));
        }
        self.say(&Readiness::Draining, Notice::Stopping);
        tracing::info!(?signal, "draining");
        self.drain(signal).await
    }

    /// On `/readyz` of all, and to the service manager.
    fn say(&self, readiness: &Readiness, notice: Notice) {
        self.board.set_all(readiness);
        notify(notice);
    }
}

async fn ended(child: &mut Option<Child>) -> Exit {
    match child {
        Some(child) => child.wait().await,
        None => std::future::pending().await,
    }
}

async fn handed_over(giving: &mut Option<Giving>) -> BTreeSet<String> {
    match giving {
        Some(giving) => giving.handed_over().await,
        None => std::future::pending().await,
    }
}
