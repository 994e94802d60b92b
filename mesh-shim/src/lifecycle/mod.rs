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
mod pages;
mod refuse;
mod start;

use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_tower::Mesh;
use mesh_tower::drain::Timing;
use mesh_tower::mesh::{Serving, ServingGuard};
use mesh_tower::runtime::{AbortOnDrop, Notice, notify};
use rustix::process::Signal;
use tokio::sync::mpsc;

use self::pages::Pages;
use self::refuse::refuse;
use self::start::{Patience, Step, Told};
use crate::admin::{Board, Readiness};
use crate::config::{Application, Config, DrainTimes};
use crate::error::ShimError;
use crate::join::How;
use crate::listeners::{Listeners, Ports};
use crate::proxy::Tunnels;
use crate::supervise::{Child, Exit, Received, Signals};
use crate::takeover::{self, Giving, Taken};
use crate::worker::{Gates, Plan, Workers};

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

/// How far one application has come.
struct Member {
    name: String,
    stage: Stage,
    refusal: Option<ShimError>,
    /// Ends the connections to one that cannot join.
    refusing: Option<AbortOnDrop>,
    mesh: Option<Mesh>,
    gates: Gates,
    /// The entry in the registry, for as long as this is kept.
    announced: Option<ServingGuard>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It joins, or its port is waited for.
    Starting,
    /// It cannot join, and tries again.
    Refused,
    /// Its port is waited for beyond its time.
    Late,
    Accepts,
}

// === impl Member ===

impl Member {
    fn new(application: &Application) -> Self {
        Self {
            name: application.name(),
            stage: Stage::Starting,
            refusal: None,
            refusing: None,
            mesh: None,
            gates: Gates::default(),
            announced: None,
        }
    }
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

    /// One application has come a step further, or not.
    fn step(&mut self, index: usize, step: Step) -> Result<(), ShimError> {
        let Some(member) = self.members.get_mut(index) else {
            return Ok(());
        };
        match step {
            Step::Joined(mesh) => {
                member.stage = Stage::Starting;
                self.board.set(index, Readiness::Starting);
                self.joined(index, *mesh)?;
            }
            Step::Refused(error) if self.patience.join => {
                member.stage = Stage::Refused;
                let why = format!("cannot join, and tries again: {}", error.short());
                tracing::warn!("{}: cannot join, and tries again: {error}", member.name);
                self.board.set(index, Readiness::Waiting(why));
                member.refusal = Some(error.of(&member.name));
                let listeners = &self.listeners;
                member
                    .refusing
                    .get_or_insert_with(|| refuse(listeners.copies(index)));
            }
            Step::Refused(error) if self.config.node => return Err(error.of(&member.name)),
            Step::Refused(error) => return Err(error),
            Step::Late(app) if self.patience.port => {
                member.stage = Stage::Late;
                let why = format!("{} does not accept", app.addr);
                tracing::warn!("{}: {why} after {:?}", member.name, app.ready_within);
                self.board.set(index, Readiness::Waiting(why));
                self.open(index);
            }
            Step::Late(app) => {
                return Err(ShimError::configuration(
                    format!(
                        "the application does not accept on {} after {:?}",
                        app.addr, app.ready_within
                    ),
                    "check --port and --app-address, or give it longer with --app-ready",
                ));
            }
            Step::Accepts => {
                member.stage = Stage::Accepts;
                self.open(index);
                if self.relieved {
                    tracing::info!("{}: ready", self.members[index].name);
                }
            }
        }
        Ok(())
    }

    /// A member of the mesh: its calls are taken, and what is to be started is started.
    fn joined(&mut self, index: usize, mesh: Mesh) -> Result<(), ShimError> {
        let DrainTimes { unready, in_flight } = self.config.drain;
        mesh.drain().set_timing(Timing { unready, in_flight });
        let tunnels = Arc::new(Tunnels::new(self.config.egress));
        let plan = &self.plans[index];
        plan.ingress.follow(&mesh);
        self.board.joined(index, &mesh, &tunnels, &plan.ingress);
        self.pages.joined();
        let app = self.config.applications[index].app;
        let member = &mut self.members[index];
        member.refusing = None;
        self.workers.give(
            &mesh,
            app,
            self.listeners.application(index),
            plan,
            &tunnels,
            &member.gates,
        );
        member.mesh = Some(mesh);
        if !self.config.command.is_empty() {
            let ports = self.listeners.ports().applications.first();
            let proxy = ports.and_then(|ports| ports.outbound);
            let port = app.map(|app| app.addr.port());
            self.child = Some(Child::start(&self.config.command, port, proxy)?);
        }
        Ok(())
    }

    /// Takes requests for an application, unless that is for the shim that is taken over from. One
    /// that is late is not announced: whoever comes all the same is told so.
    fn open(&mut self, index: usize) {
        let (member, application) = (&mut self.members[index], &self.config.applications[index]);
        let Some(mesh) = member.mesh.as_ref().filter(|_| !self.taken.is_any()) else {
            return;
        };
        if application.app.is_some() {
            member.gates.open_inbound();
        }
        if member.stage == Stage::Accepts {
            self.board.set(index, Readiness::Ready);
            let ports = &self.listeners.ports().applications[index];
            let addr = application.advertise.or(ports.inbound);
            let addr = addr.filter(|_| application.app.is_some() && member.announced.is_none());
            if let Some(addr) = addr {
                let serving = Serving::new(addr, mesh.service_name().clone());
                member.announced = Some(mesh.announce(serving));
            }
        }
    }

    /// Whether it is known of each how it starts.
    fn is_settled(&self) -> bool {
        let mut stages = self.members.iter().map(|member| member.stage);
        stages.all(|stage| stage != Stage::Starting)
    }

    /// With nobody in the mesh, nobody is kept from anything by an end.
    fn all_refused(&mut self) -> Option<ShimError> {
        let all = self.members.iter().all(|one| one.stage == Stage::Refused);
        let first = self.members.first_mut().filter(|_| all);
        first.and_then(|member| member.refusal.take())
    }

    /// Ready: whoever is taken over from stops accepting, and a successor may come.
    fn relieve(&mut self) -> Result<(), ShimError> {
        self.relieved = true;
        let mut from = std::mem::take(&mut self.taken);
        for index in 0..self.members.len() {
            self.open(index);
        }
        let succeeds = from.is_any();
        from.ready().map_err(|error| {
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
        }
        for (name, why) in self.board.unready() {
            tracing::warn!("{name} is waited for: {why}");
        }
        notify(match succeeds {
            true => Notice::Successor,
            false => Notice::Ready,
        });
        Ok(())
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
