use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_core::name::ServiceName;
use mesh_core::policy::model::Snapshot;
use mesh_core::policy::{Layer, Options, Store, spec};

use super::reconciler::Reconciler;

/// A policy with the services added that nobody defined but that have endpoints.
pub(super) struct Completed {
    version: u64,
    added: BTreeSet<ServiceName>,
    snapshot: Arc<Snapshot>,
}

impl Reconciler {
    /// The policy in force, completed by the services that were asked for, have endpoints and are
    /// defined nowhere: they get the defaults, and whatever policies name them.
    pub(super) fn policy(&mut self, asked: &BTreeSet<ServiceName>) -> (u64, Arc<Snapshot>) {
        let current = self.store.current();
        let version = current.version();
        let added: BTreeSet<_> = asked
            .iter()
            .filter(|name| current.outbound().service(name).is_none())
            .filter(|name| self.shared.pushed(name).borrow().is_some())
            .cloned()
            .collect();
        if added.is_empty() {
            self.completed = None;
            return (version, current);
        }
        if let Some(known) = &self.completed
            && known.version == version
            && known.added == added
        {
            return (version, known.snapshot.clone());
        }
        let mut resources = self.store.resources();
        if self.store.current().version() != version {
            // They are of a later policy, which may define what was missing.
            return self.policy(asked);
        }
        resources.extend(added.iter().map(|name| {
            let metadata = spec::Metadata {
                name: name.name().to_owned(),
                namespace: name.namespace().to_owned(),
                ..spec::Metadata::default()
            };
            Arc::new(spec::Service::new(metadata, spec::ServiceSpec::default()).into())
        }));
        let snapshot = match Store::new(Options::partial()).apply(Layer::Code, resources) {
            Ok(snapshot) => snapshot,
            Err(errors) => {
                tracing::error!(%errors, "services with endpoints but without a policy are left out");
                current
            }
        };
        self.completed = Some(Completed {
            version,
            added,
            snapshot: snapshot.clone(),
        });
        (version, snapshot)
    }
}
