use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::balance::EndpointInfo;
use mesh_core::name::ServiceName;
use mesh_core::policy::spec::Resource;
use mesh_core::policy::store::{Layer, Store};
use mesh_core::policy::{PolicyErrors, model::Snapshot};
use tokio::sync::watch;

use super::Shared;

/// What a control-plane client feeds into a mesh, and what it learns from it.
///
/// The mesh works without one. Once a feed was taken, a call to a service that no policy names
/// waits for it (within the call's deadline, at most 5 s) instead of failing at once.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
    store: Store,
}

/// Something that this process serves and that a registry should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Serving {
    /// Where the listener is bound.
    pub addr: SocketAddr,
    /// The service that it is an instance of.
    pub service: ServiceName,
}

/// Takes a [`Serving`] back when dropped.
pub struct ServingGuard {
    shared: Arc<Shared>,
    serving: Serving,
}

// === impl Feed ===

impl Feed {
    pub(crate) fn new(shared: Arc<Shared>, store: Store) -> Self {
        shared.set_fed();
        Self { shared, store }
    }

    /// The services to subscribe to: those that clients asked for, and the backends that their
    /// routes refer to.
    pub fn wanted(&self) -> watch::Receiver<Arc<BTreeSet<ServiceName>>> {
        self.shared.wanted()
    }

    /// Replaces the control layer of the policy. Everything is validated first; when anything is
    /// wrong the last good policy stays and the errors come back.
    pub fn apply(&self, resources: Vec<Arc<Resource>>) -> Result<Arc<Snapshot>, PolicyErrors> {
        let snapshot = self.store.apply(Layer::Control, resources)?;
        self.shared.changed.notify_one();
        Ok(snapshot)
    }

    /// Sets the endpoints of a service. `None`: nobody knows any more, keep what works.
    pub fn endpoints(&self, service: &ServiceName, endpoints: Option<Vec<EndpointInfo>>) {
        self.shared.push(service, endpoints);
    }

    /// Says that a service does not exist: calls to it fail at once with `NoRoute`.
    pub fn unknown(&self, service: &ServiceName) {
        self.shared.set_unknown(service);
    }

    /// Takes an earlier [`Feed::unknown`] back.
    pub fn known(&self, service: &ServiceName) {
        self.shared.set_known([service]);
        self.shared.changed.notify_one();
    }

    /// Says which of the instances of its service this process is (`index` of `peers`, from 0), and
    /// how many of them are in each zone: for apertures, and for how zones are shared.
    pub fn peers(&self, index: u32, peers: u32, zones: BTreeMap<Arc<str>, u32>) {
        self.shared.set_place(|place| {
            place.peer = (peers > 0).then_some((index, peers));
            place.callers = Arc::new(zones);
        });
    }

    /// Says whether the control plane is connected now; for metrics and for messages only.
    pub fn set_connected(&self, connected: bool) {
        self.shared.connected().send_replace(connected);
    }

    /// What this process serves, and should be registered.
    pub fn serving(&self) -> watch::Receiver<Vec<Serving>> {
        self.shared.serving().subscribe()
    }

    /// Whether another process goes on at the addresses of this one, which is not to deregister
    /// them then.
    pub fn is_handed_over(&self) -> bool {
        self.shared.is_handed_over()
    }

    /// The gate in front of "ready": closed while the feed has not delivered what the process
    /// needs to serve (identity, inbound policy). Open from the start; a feed that needs it closed
    /// closes it before it starts.
    pub fn set_ready(&self, ready: bool) {
        self.shared.ready().send_replace(ready);
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").finish_non_exhaustive()
    }
}

// === impl Serving ===

impl Serving {
    /// A service at an address.
    pub fn new(addr: SocketAddr, service: ServiceName) -> Self {
        Self { addr, service }
    }
}

// === impl ServingGuard ===

impl ServingGuard {
    pub(crate) fn new(shared: Arc<Shared>, serving: Serving) -> Self {
        shared
            .serving()
            .send_modify(|all| all.push(serving.clone()));
        Self { shared, serving }
    }
}

impl Drop for ServingGuard {
    fn drop(&mut self) {
        self.shared.serving().send_modify(|all| {
            if let Some(at) = all.iter().position(|one| *one == self.serving) {
                all.swap_remove(at);
            }
        });
    }
}

impl std::fmt::Debug for ServingGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ServingGuard").field(&self.serving).finish()
    }
}
