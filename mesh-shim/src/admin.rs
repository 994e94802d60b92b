//! `/livez`, `/readyz` and `/metrics`: on the main thread, away from the workers, so that they
//! answer whatever the traffic does and cost it nothing.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_tower::Mesh;
use mesh_tower::mesh::{AdminPages, AdminPart};
use mesh_tower::telemetry;

use crate::config::Config;
use crate::ingress::Setup;
use crate::proxy::Tunnels;

/// Whether the shim can take requests for an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Not yet: joining, or the application does not accept.
    Starting,
    /// Not yet, for a reason that is known.
    Waiting(String),
    /// Yes.
    Ready,
    /// No more.
    Draining,
}

/// What there is to tell of each application, in the order of the configuration.
#[derive(Clone)]
pub(crate) struct Board {
    node: bool,
    entries: Arc<Mutex<Vec<Entry>>>,
}

struct Entry {
    name: String,
    readiness: Readiness,
    measured: Option<(Mesh, Arc<Tunnels>, Setup)>,
}

// === impl Readiness ===

impl Readiness {
    fn why_not(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Starting => Some("starting".into()),
            Self::Waiting(why) => Some(why.clone().into()),
            Self::Ready => None,
            Self::Draining => Some("draining".into()),
        }
    }
}

// === impl Board ===

impl Board {
    pub(crate) fn new(config: &Config) -> Self {
        let entry = |name| Entry {
            name,
            readiness: Readiness::Starting,
            measured: None,
        };
        let names = config.applications.iter().map(|one| one.name());
        Self {
            node: config.node,
            entries: Arc::new(Mutex::new(names.map(entry).collect())),
        }
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how it is with one application.
    pub(crate) fn set(&self, index: usize, readiness: Readiness) {
        if let Some(entry) = self.entries().get_mut(index) {
            entry.readiness = readiness;
        }
    }

    /// Says how it is with all.
    pub(crate) fn set_all(&self, readiness: &Readiness) {
        for entry in self.entries().iter_mut() {
            entry.readiness = readiness.clone();
        }
    }

    /// There is something to measure.
    pub(crate) fn joined(
        &self,
        index: usize,
        mesh: &Mesh,
        tunnels: &Arc<Tunnels>,
        ingress: &Setup,
    ) {
        if let Some(entry) = self.entries().get_mut(index) {
            entry.measured = Some((mesh.clone(), tunnels.clone(), ingress.clone()));
        }
    }

    /// `/livez` and `/readyz`, with a line for each where there are several.
    pub(crate) fn health(&self) -> AdminPages {
        let board = self.clone();
        if !self.node {
            let why_not = move || {
                board
                    .entries()
                    .first()
                    .and_then(|one| one.readiness.why_not())
            };
            return AdminPages::new(why_not);
        }
        let part = |one: &Entry| AdminPart {
            name: one.name.clone(),
            unready: one.readiness.why_not(),
        };
        let parts = move || board.entries().iter().map(part).collect();
        AdminPages::new(|| None::<&str>).with_parts(parts)
    }

    /// The same, and `/metrics`: the meshes', then the shim's own.
    pub(crate) fn metrics(&self) -> AdminPages {
        let board = self.clone();
        self.health().with_metrics(move || board.text())
    }

    fn text(&self) -> String {
        let (node, entries) = (self.node, self.entries());
        let mut texts = entries.iter().filter_map(|one| {
            let (mesh, tunnels, ingress) = one.measured.as_ref()?;
            let of = node.then_some(one.name.as_str());
            Some(mesh.metrics_text() + &tunnels.metrics(of) + &ingress.metrics())
        });
        match node {
            true => telemetry::merge(texts),
            false => texts.next().unwrap_or_default(),
        }
    }
}
