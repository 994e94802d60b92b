//! What one connection knows, wants and refused of one type.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::store::{Store, Stored};
use crate::engine::Version;

/// A response that was sent and not answered yet.
#[derive(Debug)]
struct InFlight {
    nonce: String,
    /// `None` is a removal.
    content: BTreeMap<Arc<str>, Option<Version>>,
    revision: Arc<str>,
}

/// The part of a response that is to be sent now.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) resources: Vec<(Arc<str>, Stored)>,
    pub(super) removed: Vec<Arc<str>>,
}

/// One type of one connection.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    pub(super) names: BTreeSet<Arc<str>>,
    pub(super) wildcard: bool,
    /// What the client holds. `None`: something that has no version of ours.
    pub(super) held: BTreeMap<Arc<str>, Option<Version>>,
    /// Names that must be answered, also when nothing changed.
    asked: BTreeSet<Arc<str>>,
    /// Names to be compared with what is held.
    changed: BTreeSet<Arc<str>>,
    /// What the client refused: not sent again until the configuration changes. `None` is a removal.
    refused: BTreeMap<Arc<str>, Option<Version>>,
    /// The configuration changed since the refusal.
    retry: bool,
    /// A wildcard over nothing is answered by an empty response, once.
    owes_answer: bool,
    in_flight: Option<InFlight>,
    pub(super) nack: Option<Arc<str>>,
    pub(super) acked_revision: Option<Arc<str>>,
}

impl Subscription {
    pub(super) fn interested(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    // === What the client says ===

    pub(super) fn subscribe(&mut self, name: Arc<str>, held: Option<Option<Version>>) {
        match held {
            Some(version) => {
                self.held.insert(name.clone(), version);
                self.changed.insert(name.clone());
            }
            None => {
                self.asked.insert(name.clone());
            }
        }
        self.names.insert(name);
    }

    pub(super) fn subscribe_all(
        &mut self,
        store: &Store,
        held: BTreeMap<Arc<str>, Option<Version>>,
    ) {
        self.wildcard = true;
        self.owes_answer = true;
        self.changed.extend(held.keys().cloned());
        self.held.extend(held);
        self.changed.extend(store.names().cloned());
    }

    /// A name that a wildcard still covers is answered, so that the client knows whether it keeps it.
    pub(super) fn unsubscribe(&mut self, name: &Arc<str>) {
        if !self.names.remove(name) {
            return;
        }
        self.forget(name);
        if self.wildcard {
            self.asked.insert(name.clone());
        }
    }

    pub(super) fn unsubscribe_all(&mut self) {
        self.wildcard = false;
        self.owes_answer = false;
        self.retry |= self.in_flight.is_some();
        let gone: Vec<Arc<str>> = [&self.asked, &self.changed]
            .into_iter()
            .flatten()
            .chain(self.held.keys())
            .chain(self.refused.keys())
            .chain(self.in_flight.iter().flat_map(|sent| sent.content.keys()))
            .filter(|name| !self.names.contains(*name))
            .cloned()
            .collect();
        for name in gone {
            self.forget(&name);
        }
    }

    fn forget(&mut self, name: &Arc<str>) {
        self.held.remove(name);
        self.asked.remove(name);
        self.changed.remove(name);
        // What is or will be refused together with it deserves another try without it.
        self.retry |= self.in_flight.is_some();
        // And what is under way may be ignored by the client, so its ACK says nothing about this name.
        if let Some(sent) = &mut self.in_flight {
            sent.content.remove(name);
        }
        if self.refused.remove(name).is_some() {
            self.retry |= !self.refused.is_empty();
            if self.refused.is_empty() {
                self.nack = None;
            }
        }
    }

    /// Settles the response under way. A stale nonce settles nothing.
    pub(super) fn answer(&mut self, nonce: &str, refusal: Option<Arc<str>>) {
        if self
            .in_flight
            .as_ref()
            .is_none_or(|sent| sent.nonce != nonce)
        {
            return;
        }
        let Some(sent) = self.in_flight.take() else {
            return;
        };
        for (name, version) in sent.content {
            if !self.interested(&name) {
                continue;
            }
            match (&refusal, version) {
                (Some(_), version) => {
                    // A client may keep the good parts of what it refuses: what it holds now is not known.
                    self.held.insert(name.clone(), None);
                    self.refused.insert(name, version);
                }
                (None, Some(version)) => {
                    self.refused.remove(&name);
                    self.held.insert(name, Some(version));
                }
                (None, None) => {
                    self.refused.remove(&name);
                    self.held.remove(&name);
                }
            }
        }
        if refusal.is_none() {
            self.acked_revision = Some(sent.revision);
        }
        self.retry &= !self.refused.is_empty();
        // A refusal stays on view while something is refused: an ACK of another name does not lift it.
        match refusal {
            _ if self.refused.is_empty() => self.nack = None,
            Some(text) => self.nack = Some(text),
            None => {}
        }
    }

    // === What the server publishes ===

    pub(super) fn changed(&mut self, name: Arc<str>) {
        // Also while a response is under way: should it be refused, that was about the configuration before.
        self.retry |= !self.refused.is_empty() || self.in_flight.is_some();
        self.changed.insert(name);
    }

    // === What is to be sent ===

    /// New and changed resources, and answers about names that do not exist. `asked_only` holds back mere changes,
    /// because something that they may refer to is still waiting.
    pub(super) fn next(
        &mut self,
        store: &Store,
        asked_only: bool,
        max_bytes: usize,
    ) -> Option<Batch> {
        if self.in_flight.is_some() {
            return None;
        }
        let mut batch = Batch::default();
        let mut bytes = 0;
        let asked = std::mem::take(&mut self.asked);
        for name in asked {
            if bytes >= max_bytes {
                self.asked.insert(name);
                continue;
            }
            self.changed.remove(&name);
            match store.get(&name) {
                Some(stored) => {
                    bytes += stored.content.len() + name.len();
                    batch.resources.push((name, stored.clone()));
                }
                None => batch.removed.push(name),
            }
        }
        if !asked_only {
            self.take_changes(store, &mut batch, &mut bytes, max_bytes);
            if batch.resources.is_empty()
                && batch.removed.is_empty()
                && std::mem::take(&mut self.retry)
            {
                self.changed
                    .extend(std::mem::take(&mut self.refused).into_keys());
                self.take_changes(store, &mut batch, &mut bytes, max_bytes);
                if batch.resources.is_empty() {
                    self.nack = None; // What was refused was taken back.
                }
            }
        }
        let empty = batch.resources.is_empty() && batch.removed.is_empty();
        // Removals that wait for their turn are an answer too.
        if empty && (!self.owes_answer || asked_only || !self.changed.is_empty()) {
            return None;
        }
        self.owes_answer = false;
        Some(batch)
    }

    fn take_changes(
        &mut self,
        store: &Store,
        batch: &mut Batch,
        bytes: &mut usize,
        max_bytes: usize,
    ) {
        let changed = std::mem::take(&mut self.changed);
        for name in changed {
            let current = store.get(&name);
            if !self.differs(&name, current) {
                continue;
            }
            match current {
                Some(stored) if *bytes < max_bytes => {
                    *bytes += stored.content.len() + name.len();
                    batch.resources.push((name, stored.clone()));
                }
                // Too much for one response, or a removal: later.
                _ => {
                    self.changed.insert(name);
                }
            }
        }
    }

    fn differs(&self, name: &str, current: Option<&Stored>) -> bool {
        let current = current.map(|stored| stored.version);
        if self.refused.get(name) == Some(&current) {
            return false;
        }
        match (self.held.get(name), current) {
            (None, None) => false,
            (Some(Some(held)), Some(current)) => *held != current,
            _ => true,
        }
    }

    /// What the client holds and must drop. Only to be sent when nothing else is left to say.
    pub(super) fn next_removals(&mut self, store: &Store) -> Option<Batch> {
        if self.in_flight.is_some() {
            return None;
        }
        let gone: Vec<Arc<str>> = self
            .changed
            .iter()
            .filter(|name| store.get(name).is_none())
            .cloned()
            .collect();
        for name in &gone {
            self.changed.remove(name);
            self.owes_answer = false;
        }
        (!gone.is_empty()).then(|| Batch {
            resources: Vec::new(),
            removed: gone,
        })
    }

    pub(super) fn sent(&mut self, nonce: String, batch: &Batch, revision: Arc<str>) {
        let content = batch
            .resources
            .iter()
            .map(|(name, stored)| (name.clone(), Some(stored.version)))
            .chain(batch.removed.iter().map(|name| (name.clone(), None)))
            .collect();
        self.in_flight = Some(InFlight {
            nonce,
            content,
            revision,
        });
    }

    // === What can be seen ===

    /// Something new was sent and not answered, or waits for that, or was refused: removals should wait.
    pub(super) fn is_unsettled(&self, store: &Store) -> bool {
        let sent_new = self
            .in_flight
            .as_ref()
            .is_some_and(|sent| sent.content.values().any(Option::is_some));
        sent_new || !self.refused.is_empty() || self.has_news(store)
    }

    /// New or changed resources wait to be sent.
    pub(super) fn has_news(&self, store: &Store) -> bool {
        let news = |name: &Arc<str>| {
            store
                .get(name)
                .is_some_and(|stored| self.differs(name, Some(stored)))
        };
        !self.asked.is_empty() || self.changed.iter().any(news)
    }

    /// The client does not run what is published.
    pub(super) fn is_behind(&self, store: &Store) -> bool {
        self.in_flight.is_some()
            || !self.refused.is_empty()
            || !self.asked.is_empty()
            || self
                .changed
                .iter()
                .any(|name| self.differs(name, store.get(name)))
    }
}
