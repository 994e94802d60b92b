use std::sync::Arc;

use mesh_core::policy::model::Discovery;
use tokio::sync::watch;

use crate::discover::{self, Discover};
use crate::mesh::{Pushed, Shared};
use crate::runtime::AbortOnDrop;

/// A running discovery: its answers, and a task that wakes the reconciler when they change.
pub(super) struct Discovered {
    what: Discovery,
    answers: Pushed,
    _wake: AbortOnDrop,
}

// === impl Discovered ===

impl Discovered {
    pub(super) fn start(what: &Discovery, shared: &Arc<Shared>) -> Self {
        let answers = match what {
            Discovery::Static(list) => watch::Sender::new(Some(list.clone())).subscribe(),
            Discovery::Registered(service) => shared.pushed(service),
            Discovery::Dns { host, port, srv } => dns(host, *port, *srv),
            Discovery::External { host, port } => dns(host, Some(*port), false),
        };
        let mut changes = answers.clone();
        changes.mark_unchanged();
        let shared = shared.clone();
        let wake = AbortOnDrop::spawn(async move {
            while changes.changed().await.is_ok() {
                shared.changed.notify_one();
            }
        });
        Self {
            what: what.clone(),
            answers,
            _wake: wake,
        }
    }

    /// Whether it looks for the same thing.
    pub(super) fn is(&self, what: &Discovery) -> bool {
        self.what == *what
    }

    /// The newest answer; `None` while there was none, or nobody knows any more.
    pub(super) fn answer(&self) -> Option<Arc<[mesh_core::balance::EndpointInfo]>> {
        self.answers.borrow().clone()
    }
}

#[cfg(feature = "dns")]
fn dns(host: &Arc<str>, port: Option<u16>, srv: bool) -> Pushed {
    match port {
        Some(port) if !srv => discover::Dns::addresses(host, port).watch(),
        _ => discover::Dns::services(host).watch(),
    }
}

#[cfg(not(feature = "dns"))]
fn dns(host: &Arc<str>, _: Option<u16>, _: bool) -> Pushed {
    tracing::error!(%host, "built without the feature `dns`: no endpoint will be found");
    discover::static_list(Vec::new()).watch()
}
