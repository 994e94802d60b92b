//! What the server knows, shared by its services. Locks are short and taken in one order: policy,
//! registry, publisher, engine.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mesh_core::name::ServiceName;
use mesh_grpc::engine::serve::{Ads, Peer, PeerView};
use mesh_grpc::engine::server::Config as EngineConfig;
use mesh_grpc::pb::control as pb;
use mesh_grpc::pb::policy::{TrustBundle, TrustDomain};
use mesh_grpc::wire::PUSH_ORDER;
use tokio::sync::{Notify, watch};
use tonic::{Extensions, Status};

use super::caller::Caller;
use crate::ca::{Ca, JoinToken};
use crate::cli::table::plural;
use crate::events::Events;
use crate::push::{self, Publisher};
use crate::registry::{Holder, Instance, Place, Registry, RegistryError, services_of};
use crate::report::Reports;
use crate::store::{Current, File, Outcome, PolicyStore};

/// Refused joins are told at most so often: who floods the server should not flush its memory.
const REFUSALS_EVERY: Duration = Duration::from_secs(1);

/// The state of one control server.
pub(crate) struct Shared {
    pub(crate) ca: Ca,
    pub(crate) token: JoinToken,
    pub(crate) ads: Ads,
    pub(crate) leaf_ttl: Duration,
    /// Wakes the writer of the lease file.
    pub(crate) leases_changed: Notify,
    /// Counts joins and leaves, for those whose place they change.
    pub(crate) membership: watch::Sender<u64>,
    policy: Mutex<PolicyStore>,
    registry: Mutex<Registry>,
    publisher: Mutex<Publisher>,
    reports: Mutex<Reports>,
    events: Mutex<Events>,
    refused_at: Mutex<Option<Instant>>,
    /// Since when a client has been behind, by identity and name.
    behind: Mutex<HashMap<ClientKey, Instant>>,
}

/// Identity, and name of the process.
type ClientKey = (String, String);

/// One subscribed process.
#[derive(Debug)]
pub(crate) struct ClientState {
    pub(crate) view: PeerView,
    pub(crate) service: String,
    pub(crate) instance: String,
    /// How long something published is not confirmed by it.
    pub(crate) behind_for: Option<Duration>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("ca", &self.ca)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(
        ca: Ca,
        token: JoinToken,
        policy: PolicyStore,
        registry: Registry,
        leaf_ttl: Duration,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this: &std::sync::Weak<Self>| {
            let this = this.clone();
            let config = EngineConfig {
                order: PUSH_ORDER.map(str::to_owned).to_vec(),
                identifier: "mesh-control".to_owned(),
                ..Default::default()
            };
            let ads = Ads::new(config, move |extensions: &Extensions| {
                let shared = this
                    .upgrade()
                    .ok_or_else(|| Status::unavailable("stopping"))?;
                let member = Caller::of(extensions).member()?;
                shared.ensure_known(&member.service);
                Ok(Peer {
                    identity: Some(member.identity),
                    addr: member.addr,
                })
            });
            Self {
                ca,
                token,
                ads,
                leaf_ttl,
                leases_changed: Notify::new(),
                membership: watch::Sender::new(0),
                policy: Mutex::new(policy),
                registry: Mutex::new(registry),
                publisher: Mutex::default(),
                reports: Mutex::new(Reports::new(Instant::now())),
                events: Mutex::default(),
                refused_at: Mutex::default(),
                behind: Mutex::default(),
            }
        })
    }

    // === Policy ===

    pub(crate) fn policy(&self) -> MutexGuard<'_, PolicyStore> {
        lock(&self.policy)
    }

    pub(crate) fn current(&self) -> Current {
        self.policy().current().clone()
    }

    /// Publishes everything: after a start, or a change of the policy.
    pub(crate) fn publish_all(&self) {
        let policy = self.policy();
        let registry = lock(&self.registry);
        let mut publisher = lock(&self.publisher);
        let bundle = self.trust_bundle();
        self.ads.edit(|engine| {
            push::publish_trust(engine, &bundle);
            publisher.publish_all(engine, policy.current(), &registry, Instant::now());
        });
    }

    /// Applies policy texts and publishes them.
    pub(crate) fn apply(&self, files: Vec<File>, dry_run: bool) -> Outcome {
        let outcome = self.policy().apply(files, dry_run);
        self.published(&outcome, "applied policy");
        outcome
    }

    /// Takes what lies in the policy directory now, and publishes it.
    pub(crate) fn take_directory(&self, files: Vec<File>) {
        let outcome = self.policy().take_directory(files);
        self.published(&outcome, "policy directory");
        if let Some(error) = &outcome.unwritten {
            self.event(
                "policy",
                "policy directory",
                format!("not in force: {error}"),
                "M5003",
            );
        } else if !outcome.accepted {
            let (code, first) = match self.policy().refused() {
                Some(refused) => (refused.code.clone(), refused.first.clone()),
                None => Default::default(),
            };
            self.event(
                "policy",
                "policy directory",
                format!("refused: {first}"),
                code,
            );
            tracing::warn!(
                "policy directory refused; the old policy stays in force\n{}",
                outcome.checked.rendered
            );
        }
    }

    fn published(&self, outcome: &Outcome, subject: &str) {
        if !outcome.changed {
            return;
        }
        self.publish_all();
        let current = self.current();
        let message = format!(
            "revision {} in force, {}, {}",
            current.revision,
            plural(current.resources.len(), "resource"),
            plural(current.warnings, "warning")
        );
        self.event("policy", subject, message, "");
    }

    pub(crate) fn trust_bundle(&self) -> TrustBundle {
        let own = TrustDomain {
            name: self.ca.trust_domain().to_owned(),
            roots_der: vec![self.ca.certificate_der().to_vec()],
        };
        TrustBundle { domains: vec![own] }
    }

    // === Registry ===

    /// Reads the registry.
    pub(crate) fn read_registry<R>(&self, read: impl FnOnce(&Registry) -> R) -> R {
        read(&lock(&self.registry))
    }

    pub(crate) fn register(&self, holder: Holder, instance: Instance) -> Result<(), RegistryError> {
        let service = instance.service.clone();
        let text = format!("{} at {}", instance.instance, instance.addr);
        let changed = lock(&self.registry).register(holder, instance, Instant::now())?;
        if changed {
            self.event(
                "registry",
                service.to_string(),
                format!("{text} registered"),
                "",
            );
            self.endpoints_changed(&[service]);
        }
        Ok(())
    }

    pub(crate) fn heartbeat(&self, holder: Holder) {
        lock(&self.registry).heartbeat(holder, Instant::now());
    }

    pub(crate) fn deregister(
        &self,
        holder: Holder,
        service: Option<ServiceName>,
        addr: Option<SocketAddr>,
    ) {
        let gone = lock(&self.registry).deregister(holder, service.as_ref(), addr);
        self.endpoints_changed(&services_of(&gone));
        for instance in gone {
            let text = format!("{} at {} stopped", instance.instance, instance.addr);
            self.event("registry", instance.service.to_string(), text, "");
        }
    }

    pub(crate) fn stream_ended(&self, holder: Holder) {
        lock(&self.registry).stream_ended(holder);
    }

    pub(crate) fn held_by(&self, holder: Holder) -> usize {
        lock(&self.registry).held_by(holder)
    }

    pub(crate) fn place(&self, holder: Holder) -> Option<Place> {
        lock(&self.registry).place(holder)
    }

    /// Takes out whose lease has ended.
    pub(crate) fn expire(&self, now: Instant) {
        let gone = lock(&self.registry).expire(now);
        self.endpoints_changed(&services_of(&gone));
        for instance in gone {
            let text = format!("{} at {}: lease lost", instance.instance, instance.addr);
            self.event("registry", instance.service.to_string(), text, "M5001");
        }
    }

    fn endpoints_changed(&self, services: &[ServiceName]) {
        if services.is_empty() {
            return;
        }
        self.leases_changed.notify_one();
        self.membership.send_modify(|changes| *changes += 1);
        let policy = self.policy();
        let registry = lock(&self.registry);
        let mut publisher = lock(&self.publisher);
        self.ads.edit(|engine| {
            for service in services {
                let now = Instant::now();
                publisher.publish_endpoints(engine, service, policy.current(), &registry, now);
            }
        });
    }

    /// A member of this service exists: what concerns its instances is published from now on.
    pub(crate) fn ensure_known(&self, service: &ServiceName) {
        let news = lock(&self.publisher).note(service, false);
        if news {
            self.publish_all();
        }
    }

    // === Reports, clients, events ===

    pub(crate) fn report(&self, service: &ServiceName, report: pb::ReportRequest) {
        lock(&self.reports).take(service, report, Instant::now());
    }

    pub(crate) fn reports(&self) -> MutexGuard<'_, Reports> {
        lock(&self.reports)
    }

    /// Once a second: windows move on, and who is behind is noted.
    pub(crate) fn tick(&self, now: Instant) {
        lock(&self.reports).sweep(now);
        let behind: Vec<ClientKey> = self
            .ads
            .peers()
            .iter()
            .filter(|view| view.connection.behind)
            .map(client_key)
            .collect();
        let mut since = lock(&self.behind);
        since.retain(|key, _| behind.contains(key));
        for key in behind {
            since.entry(key).or_insert(now);
        }
    }

    /// Every subscribed process.
    pub(crate) fn clients(&self, now: Instant) -> Vec<ClientState> {
        let since = lock(&self.behind).clone();
        let state = |view: PeerView| {
            let key = client_key(&view);
            let service = view.peer.identity.as_deref().and_then(service_of_id);
            ClientState {
                service: service.map(|name| name.to_string()).unwrap_or_default(),
                behind_for: since
                    .get(&key)
                    .map(|since| now.saturating_duration_since(*since)),
                instance: key.1,
                view,
            }
        };
        self.ads.peers().into_iter().map(state).collect()
    }

    pub(crate) fn event(
        &self,
        kind: &'static str,
        subject: impl Into<String>,
        message: impl Into<String>,
        code: impl Into<String>,
    ) {
        lock(&self.events).push(kind, subject, message, code);
    }

    /// An event about a peer that was refused, at most one a second.
    pub(crate) fn refusal(&self, from: &str, message: &str, code: &str) {
        let mut last = lock(&self.refused_at);
        let now = Instant::now();
        if last.is_none_or(|last| now.saturating_duration_since(last) >= REFUSALS_EVERY) {
            *last = Some(now);
            self.event("identity", from, message, code);
        }
    }

    pub(crate) fn events(&self, after: u64, limit: usize) -> Vec<crate::events::Event> {
        lock(&self.events).after(after, limit)
    }
}

fn client_key(view: &PeerView) -> ClientKey {
    let instance = view.connection.node.as_ref().map(|node| node.id.clone());
    (
        view.peer.identity.clone().unwrap_or_default(),
        instance.unwrap_or_default(),
    )
}

/// The service of an id that a handshake proved.
pub(crate) fn service_of_id(id: &str) -> Option<ServiceName> {
    mesh_core::identity::SpiffeId::parse(id).ok()?.service()
}

/// A panic under a lock leaves the state between two of its own steps; serving on beats stopping.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
