//! How far each application has come, and what its next step means for the others.

use std::sync::Arc;

use mesh_tower::Mesh;
use mesh_tower::drain::Timing;
use mesh_tower::mesh::{Serving, ServingGuard};
use mesh_tower::runtime::{AbortOnDrop, Notice, notify};

use super::Shim;
use super::refuse::refuse;
use super::start::Step;
use crate::admin::Readiness;
use crate::config::{Application, DrainTimes};
use crate::error::ShimError;
use crate::proxy::Tunnels;
use crate::supervise::Child;
use crate::takeover::Giving;
use crate::worker::Gates;

/// How far one application has come.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) stage: Stage,
    pub(super) refusal: Option<ShimError>,
    /// Ends the connections to one that cannot join.
    pub(super) refusing: Option<AbortOnDrop>,
    pub(super) mesh: Option<Mesh>,
    pub(super) gates: Gates,
    /// The entry in the registry, for as long as this is kept.
    pub(super) announced: Option<ServingGuard>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
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
    pub(super) fn new(application: &Application) -> Self {
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
    /// One application has come a step further, or not.
    pub(super) fn step(&mut self, index: usize, step: Step) -> Result<(), ShimError> {
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
    pub(super) fn is_settled(&self) -> bool {
        let mut stages = self.members.iter().map(|member| member.stage);
        stages.all(|stage| stage != Stage::Starting)
    }

    /// With nobody in the mesh, nobody is kept from anything by an end.
    pub(super) fn all_refused(&mut self) -> Option<ShimError> {
        let all = self.members.iter().all(|one| one.stage == Stage::Refused);
        let first = self.members.first_mut().filter(|_| all);
        first.and_then(|member| member.refusal.take())
    }

    /// Ready: whoever is taken over from stops accepting, and a successor may come.
    pub(super) fn relieve(&mut self) -> Result<(), ShimError> {
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
        notify(match succeeds {
            true => Notice::Successor,
            false => Notice::Ready,
        });
        Ok(())
    }
}
