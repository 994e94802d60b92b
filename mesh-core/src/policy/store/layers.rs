use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::policy::error::PolicyErrors;
use crate::policy::model::Snapshot;
use crate::policy::spec::{Resource, ResourceId};
use crate::policy::validate::{Options, revision, validate};

/// Where resources come from. A later one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// Set by the application's own code.
    Code,
    /// Read from files on this machine.
    File,
    /// Pushed by the control server.
    Control,
}

/// The policy of a process. Clones share it.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    options: Options,
    state: Mutex<State>,
    published: watch::Sender<Arc<Snapshot>>,
}

#[derive(Default)]
struct State {
    layers: BTreeMap<Layer, Applied>,
    updates: BTreeMap<Layer, Updates>,
    version: u64,
}

/// Updates of a layer that were not the same resources again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Updates {
    /// Accepted.
    pub applied: u64,
    /// Refused; the last good policy stayed.
    pub refused: u64,
}

#[derive(Clone)]
struct Applied {
    resources: Vec<Arc<Resource>>,
    revision: Arc<str>,
}

// === impl Store ===

impl Store {
    /// An empty store that validates with `options`.
    pub fn new(options: Options) -> Self {
        let (published, _) = watch::channel(Arc::new(Snapshot::default()));
        Self(Arc::new(Shared {
            options,
            state: Mutex::default(),
            published,
        }))
    }

    /// Replaces a layer by `resources`. On an error nothing changes.
    ///
    /// Publishes only when something is different: the same resources again, in any order, wake
    /// nobody and yield the current snapshot.
    pub fn apply(
        &self,
        layer: Layer,
        resources: Vec<Arc<Resource>>,
    ) -> Result<Arc<Snapshot>, PolicyErrors> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let revision = revision(&resources);
        if state
            .layers
            .get(&layer)
            .is_some_and(|l| l.revision == revision)
        {
            return Ok(self.current());
        }
        let candidate = Applied {
            resources,
            revision,
        };
        let merged = merge(&state.layers, layer, &candidate);
        let before = self.current();
        let valid = validate(&merged, &self.0.options, Some(&before));
        let updates = state.updates.entry(layer).or_default();
        let (mut snapshot, _) = match valid {
            Ok(valid) => {
                updates.applied += 1;
                valid
            }
            Err(errors) => {
                updates.refused += 1;
                return Err(errors);
            }
        };
        state.layers.insert(layer, candidate);
        if snapshot.revision == before.revision {
            return Ok(before);
        }
        state.version += 1;
        snapshot.version = state.version;
        let snapshot = Arc::new(snapshot);
        self.0.published.send_replace(snapshot.clone());
        Ok(snapshot)
    }

    /// What [`apply`](Self::apply) would say, without changing anything.
    pub fn try_apply(
        &self,
        layer: Layer,
        resources: Vec<Arc<Resource>>,
    ) -> Result<Snapshot, PolicyErrors> {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let candidate = Applied {
            revision: revision(&resources),
            resources,
        };
        let merged = merge(&state.layers, layer, &candidate);
        validate(&merged, &self.0.options, Some(&self.current())).map(|(snapshot, _)| snapshot)
    }

    /// The snapshot in force; the empty one before the first success.
    pub fn current(&self) -> Arc<Snapshot> {
        self.0.published.borrow().clone()
    }

    /// The snapshot in force, now and whenever it changes.
    pub fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.0.published.subscribe()
    }

    /// Content hash of a layer; `None` before its first success.
    pub fn layer_revision(&self, layer: Layer) -> Option<Arc<str>> {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.layers.get(&layer).map(|l| l.revision.clone())
    }

    /// Counts an update that was refused before it came here: its text or its form was wrong.
    pub fn count_refused(&self, layer: Layer) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.updates.entry(layer).or_default().refused += 1;
    }

    /// How many updates of a layer there were; `None` before the first.
    pub fn updates(&self, layer: Layer) -> Option<Updates> {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.updates.get(&layer).copied()
    }

    /// The resources of a layer, as last accepted.
    pub fn layer(&self, layer: Layer) -> Vec<Arc<Resource>> {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let found = state.layers.get(&layer);
        found.map(|l| l.resources.clone()).unwrap_or_default()
    }

    /// The resources in force: all layers, higher ones over lower ones.
    pub fn resources(&self) -> Vec<Arc<Resource>> {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        over(state.layers.values().map(|l| l.resources.as_slice()))
    }
}

impl Layer {
    /// All layers, lowest first.
    pub const ALL: [Self; 3] = [Self::Code, Self::File, Self::Control];

    /// The word used in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::File => "file",
            Self::Control => "control",
        }
    }
}

impl Default for Store {
    /// A store for a process that knows a part of the mesh.
    fn default() -> Self {
        Self::new(Options::partial())
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.current()).finish()
    }
}

fn merge(
    layers: &BTreeMap<Layer, Applied>,
    layer: Layer,
    candidate: &Applied,
) -> Vec<Arc<Resource>> {
    let mut layers: BTreeMap<Layer, &Applied> = layers.iter().map(|(k, v)| (*k, v)).collect();
    layers.insert(layer, candidate);
    over(layers.values().map(|l| l.resources.as_slice()))
}

/// Lists laid over one another. Within one list a repeated identity is kept, for `validate` to
/// complain about.
fn over<'a>(lists: impl Iterator<Item = &'a [Arc<Resource>]>) -> Vec<Arc<Resource>> {
    let mut out: Vec<Arc<Resource>> = Vec::new();
    for list in lists {
        if out.is_empty() {
            out.extend_from_slice(list);
            continue;
        }
        let ids: std::collections::HashSet<ResourceId> = list.iter().map(|r| r.id()).collect();
        out.retain(|r| !ids.contains(&r.id()));
        out.extend_from_slice(list);
    }
    out
}

const _: fn() = || {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    shared::<Store>();
};
