//! From policy and registry to what each workload is told.
//!
//! ```text
//! policy ───┬─> ServicePolicy, InboundPolicy   one message per service, only what concerns it
//! registry ─┴─> EndpointSet                    one message per service, its subsets too
//! CA ─────────> TrustBundle
//! ```
//!
//! A service exists when the policy names it or when instances of it have registered. It goes on to
//! exist when the last instance is gone: its callers should hear "no endpoint", not "no such
//! service".
//!
//! Everything is handed to the engine as a whole; the engine compares content hashes and wakes only
//! the subscribers of names that differ.

mod project;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use mesh_core::name::ServiceName;
use mesh_core::policy::spec::{Endpoints, Resource};
use mesh_grpc::engine::server::Engine;
use mesh_grpc::pb::policy as pb;
use mesh_grpc::wire::{
    ENDPOINT_SET, INBOUND_POLICY, SERVICE_POLICY, TRUST_BUNDLE, TRUST_BUNDLE_NAME,
    resource_to_proto,
};
use prost::Message;

pub(crate) use project::Index;

use crate::registry::Registry;
use crate::store::Current;

/// Services that exist by registration or by joining alone. A member can only speak for the service
/// of its identity, so this is reached by handing out identities of 10,000 services.
const MAX_IMPLICIT: usize = 10_000;

/// Keeps the engine's content up to date.
#[derive(Debug, Default)]
pub(crate) struct Publisher {
    /// Had instances.
    registered: BTreeSet<ServiceName>,
    /// Has members, which need to know who may call them, or is about to.
    members: BTreeSet<ServiceName>,
    /// Services whose endpoints are registered instances, with what they select from whom.
    sets: BTreeMap<ServiceName, Selection>,
    /// From a service to the subsets that select from it.
    subsets: BTreeMap<ServiceName, Vec<ServiceName>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Selection {
    from: ServiceName,
    labels: BTreeMap<String, String>,
}

impl Publisher {
    /// Publishes everything anew.
    pub(crate) fn publish_all(
        &mut self,
        engine: &mut Engine,
        current: &Current,
        registry: &Registry,
        now: Instant,
    ) {
        for service in registry.services() {
            self.note(service, true);
        }
        let index = Index::new(&current.resources);
        let services: BTreeSet<_> = index
            .names()
            .iter()
            .chain(&self.registered)
            .cloned()
            .collect();
        let inbound: BTreeSet<_> = services.iter().chain(&self.members).cloned().collect();
        self.select(&index, &services);

        let policies = services.iter().map(|name| {
            let message = pb::ServicePolicy {
                service: name.to_string(),
                resources: wire(index.outbound(name)),
            };
            (name.to_string(), encode(&message))
        });
        let rules = inbound.iter().map(|name| {
            let message = pb::InboundPolicy {
                service: name.to_string(),
                resources: wire(index.inbound(name)),
            };
            (name.to_string(), encode(&message))
        });
        let sets = self.sets.iter().map(|(name, selection)| {
            (
                name.to_string(),
                encode(&endpoint_set(name, selection, registry, now)),
            )
        });
        engine.set_revision(&current.revision);
        engine.replace(ENDPOINT_SET, sets);
        engine.replace(SERVICE_POLICY, policies);
        engine.replace(INBOUND_POLICY, rules);
    }

    /// Publishes the endpoints of one service and of its subsets. A service that is new is published
    /// as a whole.
    pub(crate) fn publish_endpoints(
        &mut self,
        engine: &mut Engine,
        service: &ServiceName,
        current: &Current,
        registry: &Registry,
        now: Instant,
    ) {
        if self.note(service, true) {
            self.publish_all(engine, current, registry, now);
            return;
        }
        let subsets = self.subsets.get(service).into_iter().flatten();
        for name in std::iter::once(service).chain(subsets) {
            if let Some(selection) = self.sets.get(name) {
                let set = encode(&endpoint_set(name, selection, registry, now));
                engine.update(ENDPOINT_SET, &name.to_string(), Some(set));
            }
        }
    }

    /// Notes that a service has members, with or without registered instances. True when that is
    /// news.
    pub(crate) fn note(&mut self, service: &ServiceName, registered: bool) -> bool {
        let names = if registered {
            &mut self.registered
        } else {
            &mut self.members
        };
        names.len() < MAX_IMPLICIT && !names.contains(service) && names.insert(service.clone())
    }

    /// Works out which services have registered endpoints, and which are subsets of which.
    fn select(&mut self, index: &Index<'_>, services: &BTreeSet<ServiceName>) {
        self.sets.clear();
        self.subsets.clear();
        for name in services {
            let definition = index.service(name).map(|resource| &**resource);
            let selection = match definition {
                Some(Resource::Service(service)) if service.spec.subset_of.is_some() => {
                    let base = index.base_of(name).unwrap_or_else(|| name.clone());
                    if !is_registered(index, &base) {
                        continue;
                    }
                    self.subsets
                        .entry(base.clone())
                        .or_default()
                        .push(name.clone());
                    Selection {
                        from: base,
                        labels: service.spec.selector.clone(),
                    }
                }
                _ if is_registered(index, name) => Selection {
                    from: name.clone(),
                    labels: BTreeMap::new(),
                },
                _ => continue,
            };
            self.sets.insert(name.clone(), selection);
        }
    }
}

/// Publishes the trust anchors.
pub(crate) fn publish_trust(engine: &mut Engine, bundle: &pb::TrustBundle) {
    engine.update(TRUST_BUNDLE, TRUST_BUNDLE_NAME, Some(encode(bundle)));
}

/// Whether a service's endpoints are the instances that register themselves.
fn is_registered(index: &Index<'_>, name: &ServiceName) -> bool {
    match index.service(name).map(|resource| &**resource) {
        Some(Resource::Service(service)) => match &service.spec.endpoints {
            Some(Endpoints {
                fixed,
                dns,
                external,
                ..
            }) => fixed.is_none() && dns.is_none() && external.is_none(),
            None => true,
        },
        _ => true,
    }
}

fn endpoint_set(
    name: &ServiceName,
    selection: &Selection,
    registry: &Registry,
    now: Instant,
) -> pb::EndpointSet {
    let selected = |labels: &BTreeMap<String, String>| {
        selection
            .labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    };
    let endpoints = registry
        .instances(&selection.from, now)
        .filter(|row| selected(&row.instance.labels))
        .map(|row| pb::Endpoint {
            addr: row.instance.addr.to_string(),
            identity: row.instance.identity.clone(),
            labels: row.instance.labels.clone(),
            zone: row.instance.zone.clone(),
            weight: row.instance.weight,
            priority: row.instance.priority,
        });
    pb::EndpointSet {
        service: name.to_string(),
        endpoints: endpoints.collect(),
    }
}

fn wire(resources: Vec<&Arc<Resource>>) -> Vec<pb::Resource> {
    resources
        .into_iter()
        .map(|resource| resource_to_proto(resource))
        .collect()
}

fn encode(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}
