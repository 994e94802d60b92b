//! The published resources of one type and who watches them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;

use super::ConnectionId;
use crate::engine::Version;

/// One published resource.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) version: Version,
    pub(super) content: Bytes,
}

/// All published resources of one type.
#[derive(Debug, Default)]
pub(super) struct Store {
    resources: BTreeMap<Arc<str>, Stored>,
    watchers: HashMap<Arc<str>, BTreeSet<ConnectionId>>,
    wildcards: BTreeSet<ConnectionId>,
}

impl Store {
    pub(super) fn get(&self, name: &str) -> Option<&Stored> {
        self.resources.get(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.resources.keys()
    }

    /// Publishes, changes or (with `None`) takes back a resource. Returns its name if that made a difference.
    pub(super) fn set(&mut self, name: &str, content: Option<Bytes>) -> Option<Arc<str>> {
        let Some(content) = content else {
            return self.resources.remove_entry(name).map(|(name, _)| name);
        };
        let version = Version::of(&content);
        let stored = Stored { version, content };
        match self.resources.get_key_value(name) {
            Some((_, old)) if old.version == version => None,
            Some((name, _)) => {
                let name = name.clone();
                self.resources.insert(name.clone(), stored);
                Some(name)
            }
            None => {
                let name: Arc<str> = name.into();
                self.resources.insert(name.clone(), stored);
                Some(name)
            }
        }
    }

    pub(super) fn watch(&mut self, name: &Arc<str>, id: ConnectionId) {
        self.watchers.entry(name.clone()).or_default().insert(id);
    }

    pub(super) fn unwatch(&mut self, name: &str, id: ConnectionId) {
        if let Some(ids) = self.watchers.get_mut(name) {
            ids.remove(&id);
            if ids.is_empty() {
                self.watchers.remove(name);
            }
        }
    }

    pub(super) fn watch_all(&mut self, id: ConnectionId, on: bool) {
        if on {
            self.wildcards.insert(id);
        } else {
            self.wildcards.remove(&id);
        }
    }

    /// Who must hear of a change of `name`.
    pub(super) fn watchers(&self, name: &str) -> BTreeSet<ConnectionId> {
        let mut all = self.wildcards.clone();
        all.extend(self.watchers.get(name).into_iter().flatten());
        all
    }

    /// Every name that anyone is subscribed to.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &Arc<str>> {
        self.watchers.keys()
    }
}
