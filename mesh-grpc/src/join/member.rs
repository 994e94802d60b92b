//! What is in force here of what the control server said.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use mesh_core::{
    error::MeshError,
    name::ServiceName,
    policy::{PolicyErrors, ResourceId, spec::Resource},
};
use mesh_tower::{mesh::Feed, tls::Credentials};
use prost::Message as _;
use tokio::sync::watch;

use super::identity::trust_roots;
use crate::{
    engine::{
        Limits, Version, Violation,
        client::{Machine, Update},
    },
    pb::{
        control::HeldType,
        discovery::{self, DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node},
        policy as pb,
    },
    wire::{self, ENDPOINT_SET, INBOUND_POLICY, SERVICE_POLICY, TRUST_BUNDLE, TRUST_BUNDLE_NAME},
};

/// A resource in force: its version and its bytes, for the disk.
type Held = (Arc<str>, Bytes);

/// Policy by the message that carries it.
type Policies = BTreeMap<(&'static str, Arc<str>), Vec<Arc<Resource>>>;

/// The subscription of one member and everything that it brought.
pub(super) struct Member {
    service: ServiceName,
    feed: Feed,
    credentials: Credentials,
    machine: Machine,
    policies: Policies,
    content: BTreeMap<(&'static str, Arc<str>), Held>,
    revision: Arc<str>,
    /// Who may call this service is known, or it is known that nobody said.
    informed: watch::Sender<bool>,
    /// Counts changes, for whoever writes them to disk.
    changes: watch::Sender<u64>,
}

/// The types of this program, as they are known statically.
fn known(type_url: &str) -> Option<&'static str> {
    wire::PUSH_ORDER
        .into_iter()
        .find(|known| *known == type_url)
}

impl Member {
    pub(super) fn new(
        service: ServiceName,
        feed: Feed,
        credentials: Credentials,
        node: Node,
    ) -> Self {
        let mut machine = Machine::new(node, Limits::default());
        machine.subscribe(TRUST_BUNDLE, TRUST_BUNDLE_NAME);
        machine.subscribe(INBOUND_POLICY, &service.to_string());
        Self {
            service,
            feed,
            credentials,
            machine,
            policies: Policies::new(),
            content: BTreeMap::new(),
            revision: "".into(),
            informed: watch::Sender::new(false),
            changes: watch::Sender::new(0),
        }
    }

    pub(super) fn informed(&self) -> watch::Receiver<bool> {
        self.informed.subscribe()
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    // === Disk ===

    /// Everything in force, one message for each type.
    pub(super) fn snapshot(&self) -> Vec<DeltaDiscoveryResponse> {
        let of = |type_url: &str| DeltaDiscoveryResponse {
            system_version_info: self.revision.to_string(),
            type_url: type_url.to_owned(),
            resources: self
                .content
                .iter()
                .filter(|((url, _), _)| *url == type_url)
                .map(|((url, name), (version, content))| discovery::Resource {
                    version: version.to_string(),
                    resource: Some(prost_types::Any {
                        type_url: (*url).to_owned(),
                        value: content.to_vec(),
                    }),
                    name: name.to_string(),
                    aliases: Vec::new(),
                })
                .collect(),
            ..Default::default()
        };
        wire::PUSH_ORDER.map(of).into()
    }

    /// Puts a snapshot of an earlier run into force. What the store refuses is left out.
    pub(super) fn restore(&mut self, types: Vec<DeltaDiscoveryResponse>) {
        for response in types {
            let Some(type_url) = known(&response.type_url) else {
                continue;
            };
            self.revision = response.system_version_info.as_str().into();
            for resource in response.resources {
                let name: Arc<str> = resource.name.into();
                let content: Bytes = resource
                    .resource
                    .map(|any| any.value)
                    .unwrap_or_default()
                    .into();
                let entry = (name.clone(), Arc::<str>::from(resource.version), content);
                match self.put(type_url, std::slice::from_ref(&entry), &[]) {
                    Ok(()) => self.machine.restore(type_url, &name, &entry.1),
                    Err(reason) => {
                        tracing::warn!(target: "mesh::join", "{name} of the last run is not used: {reason}");
                    }
                }
            }
        }
    }

    /// The trust bundle came with the identity, before any subscription.
    pub(super) fn trust(&mut self, trust: &pb::TrustBundle) {
        let content: Bytes = trust.encode_to_vec().into();
        let version: Arc<str> = Version::of(&content).to_string().into();
        self.machine
            .restore(TRUST_BUNDLE, TRUST_BUNDLE_NAME, &version);
        self.content
            .insert((TRUST_BUNDLE, TRUST_BUNDLE_NAME.into()), (version, content));
        self.changes.send_modify(|changes| *changes += 1);
    }

    // === The stream ===

    pub(super) fn reconnect(&mut self) {
        self.machine.reconnect();
    }

    pub(super) fn poll_request(&mut self) -> Option<DeltaDiscoveryRequest> {
        self.machine.poll_request()
    }

    /// Makes `services` what is subscribed to; what is no longer wanted is dropped.
    pub(super) fn want(&mut self, services: &BTreeSet<ServiceName>) {
        let names: BTreeSet<String> = services.iter().map(ToString::to_string).collect();
        for type_url in [ENDPOINT_SET, SERVICE_POLICY] {
            self.machine
                .want(type_url, names.iter().map(String::as_str));
        }
        let wanted = |(type_url, name): &(&'static str, Arc<str>)| {
            !matches!(*type_url, ENDPOINT_SET | SERVICE_POLICY) || names.contains(&**name)
        };
        self.content.retain(|key, _| wanted(key));
        self.policies.retain(|key, _| wanted(key));
    }

    /// Puts a response into force, as far as it is good, and queues the answer.
    pub(super) fn on_response(
        &mut self,
        response: DeltaDiscoveryResponse,
    ) -> Result<(), Violation> {
        let update = self.machine.on_response(response)?;
        let Some(type_url) = known(&update.type_url) else {
            self.machine.accept(&update);
            return Ok(());
        };
        match self.put(type_url, &update.resources, &update.removed) {
            Ok(()) => {
                self.revision = update.revision.clone();
                self.machine.accept(&update);
            }
            Err(reason) => {
                // One bad resource does not keep the others of its response out.
                let kept = self.put_singly(type_url, &update);
                tracing::error!(
                    target: "mesh::join",
                    code = "M5002",
                    "an update of {} is refused, the last good stays in force:\n{reason}",
                    type_url.rsplit('.').next().unwrap_or(type_url),
                );
                self.machine.refuse(&update, &reason, &kept);
            }
        }
        let own = self.service.to_string();
        let named = |name: &Arc<str>| **name == *own;
        if type_url == INBOUND_POLICY
            && (update.resources.iter().any(|(name, ..)| named(name))
                || update.removed.iter().any(named))
        {
            self.informed.send_replace(true);
        }
        Ok(())
    }

    fn put_singly(&mut self, type_url: &'static str, update: &Update) -> BTreeSet<Arc<str>> {
        let mut kept = BTreeSet::new();
        for entry in &update.resources {
            if update.resources.len() > 1
                && self.put(type_url, std::slice::from_ref(entry), &[]).is_ok()
            {
                kept.insert(entry.0.clone());
            }
        }
        for name in &update.removed {
            if self.put(type_url, &[], std::slice::from_ref(name)).is_ok() {
                kept.insert(name.clone());
            }
        }
        kept
    }

    /// All or nothing.
    fn put(
        &mut self,
        type_url: &'static str,
        resources: &[(Arc<str>, Arc<str>, Bytes)],
        removed: &[Arc<str>],
    ) -> Result<(), String> {
        match type_url {
            TRUST_BUNDLE => {
                for (_, _, content) in resources {
                    let bundle = decode::<pb::TrustBundle>(content)?;
                    let roots =
                        trust_roots(bundle).map_err(|error: MeshError| error.to_string())?;
                    self.credentials.set_trust(roots);
                }
                // Nobody to trust is no configuration, it is a mistake: what is trusted stays.
            }
            ENDPOINT_SET => {
                let mut sets = Vec::new();
                for (name, _, content) in resources {
                    let set = decode::<pb::EndpointSet>(content)?;
                    let endpoints =
                        wire::endpoints(set).map_err(|error| format!("{name} {error}"))?;
                    sets.push((service(name)?, Some(endpoints)));
                }
                for name in removed {
                    sets.push((service(name)?, None));
                }
                for (service, endpoints) in sets {
                    self.feed.endpoints(&service, endpoints);
                }
            }
            _ => self.put_policy(type_url, resources, removed)?,
        }
        for (name, version, content) in resources {
            self.content
                .insert((type_url, name.clone()), (version.clone(), content.clone()));
        }
        for name in removed {
            self.content.remove(&(type_url, name.clone()));
        }
        self.changes.send_modify(|changes| *changes += 1);
        Ok(())
    }

    fn put_policy(
        &mut self,
        type_url: &'static str,
        resources: &[(Arc<str>, Arc<str>, Bytes)],
        removed: &[Arc<str>],
    ) -> Result<(), String> {
        let mut news: Policies = BTreeMap::new();
        for (name, _, content) in resources {
            let wire = match type_url {
                SERVICE_POLICY => decode::<pb::ServicePolicy>(content)?.resources,
                _ => decode::<pb::InboundPolicy>(content)?.resources,
            };
            let policy = wire::resources(wire).map_err(|error| error.to_string())?;
            service(name)?;
            news.insert((type_url, name.clone()), policy);
        }
        // A resource can be in several messages. The newest counts; each message brings all that it refers to.
        let old = self.policies.iter().filter(|(key, _)| {
            let gone = key.0 == type_url && removed.contains(&key.1);
            !gone && !news.contains_key(*key)
        });
        let mut all: BTreeMap<ResourceId, Arc<Resource>> = BTreeMap::new();
        for resource in old.chain(&news).flat_map(|(_, resources)| resources) {
            all.insert(resource.id(), resource.clone());
        }
        self.feed
            .apply(all.into_values().collect())
            .map_err(|errors| reason(&errors))?;
        for name in removed {
            self.policies.remove(&(type_url, name.clone()));
        }
        if type_url == SERVICE_POLICY {
            for (_, name) in news.keys() {
                self.feed.known(&service(name)?);
            }
            for name in removed {
                self.feed.unknown(&service(name)?);
            }
        }
        self.policies.extend(news);
        Ok(())
    }

    // === What can be seen ===

    pub(super) fn revision(&self) -> &str {
        &self.revision
    }

    pub(super) fn held(&self) -> Vec<HeldType> {
        let of = |(type_url, nack): (&Arc<str>, Option<&Arc<str>>)| HeldType {
            type_url: type_url.to_string(),
            versions: self
                .machine
                .held(type_url)
                .map(|(name, version)| (name.to_string(), version.to_string()))
                .collect(),
            nack: nack.map(|text| text.to_string()).unwrap_or_default(),
        };
        self.machine.types().map(of).collect()
    }
}

fn decode<M: prost::Message + Default>(content: &Bytes) -> Result<M, String> {
    M::decode(content.clone()).map_err(|error| error.to_string())
}

fn service(name: &str) -> Result<ServiceName, String> {
    let (namespace, name) = name
        .split_once('/')
        .ok_or_else(|| format!("`{name}` is not namespace/name"))?;
    ServiceName::new(namespace, name).map_err(|error| error.to_string())
}

/// Each error with its resource and field path.
fn reason(errors: &PolicyErrors) -> String {
    let lines: Vec<String> = errors
        .0
        .iter()
        .filter(|error| error.is_error())
        .map(ToString::to_string)
        .collect();
    lines.join("\n")
}
