//! The engine: stores, connections and the order in which things are said.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    store::Store,
    subscription::{Batch, Subscription},
};
use crate::{
    engine::{Limits, Version, Violation, WILDCARD},
    pb::discovery::{ControlPlane, DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node, Resource},
};

/// Types that requests may bring up altogether. Types that are configured or published always have a place.
const MAX_TYPES: usize = 256;

/// One stream of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

/// How an engine behaves.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Type URLs in the order in which news are pushed: what is referred to first. Types not listed follow in the
    /// order in which they appear. Removals go the other way.
    pub order: Vec<String>,
    /// Bounds of each connection.
    pub limits: Limits,
    /// Name of this server in its responses.
    pub identifier: String,
}

#[derive(Debug, Default)]
pub(super) struct Connection {
    pub(super) node: Option<Node>,
    pub(super) types: BTreeMap<Arc<str>, Subscription>,
    nonce: u64,
    pub(super) resources_sent: u64,
}

/// The server's machine: all published resources and all connections. No I/O: requests go into
/// [`on_request`](Self::on_request), responses come out of [`poll`](Self::poll), and
/// [`take_woken`](Self::take_woken) says which connections to poll after updates.
#[derive(Debug)]
pub struct Engine {
    pub(super) order: Vec<Arc<str>>,
    /// At the same position as `order`.
    pub(super) stores: Vec<Store>,
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    pub(super) revision: Arc<str>,
    woken: BTreeSet<ConnectionId>,
    next_id: u64,
    config: Config,
}

impl Engine {
    /// An engine with nothing published.
    pub fn new(config: Config) -> Self {
        let order: Vec<Arc<str>> = config.order.iter().map(|url| url.as_str().into()).collect();
        Self {
            stores: order.iter().map(|_| Store::default()).collect(),
            order,
            connections: BTreeMap::new(),
            revision: "".into(),
            woken: BTreeSet::new(),
            next_id: 0,
            config,
        }
    }

    // === What is published ===

    /// Names the revision of all that is published; it goes into each response for people to read.
    pub fn set_revision(&mut self, revision: &str) {
        self.revision = revision.into();
    }

    /// Publishes or changes a resource, or takes it back with `None`. Returns whether that made a difference.
    pub fn update(&mut self, type_url: &str, name: &str, content: Option<Bytes>) -> bool {
        let ix = self.position(type_url);
        let Some(name) = self.stores[ix].set(name, content) else {
            return false;
        };
        for id in self.stores[ix].watchers(&name) {
            let subscription = self
                .connections
                .get_mut(&id)
                .and_then(|c| c.types.get_mut(&self.order[ix]));
            if let Some(subscription) = subscription {
                subscription.changed(name.clone());
                self.woken.insert(id);
            }
        }
        true
    }

    /// Makes `resources` everything that is published of a type. Returns how many differ.
    pub fn replace(
        &mut self,
        type_url: &str,
        resources: impl IntoIterator<Item = (String, Bytes)>,
    ) -> usize {
        let ix = self.position(type_url);
        let mut gone: BTreeSet<Arc<str>> = self.stores[ix].names().cloned().collect();
        let mut differ = 0;
        for (name, content) in resources {
            gone.remove(name.as_str());
            differ += usize::from(self.update(type_url, &name, Some(content)));
        }
        for name in gone {
            differ += usize::from(self.update(type_url, &name, None));
        }
        differ
    }

    /// Content of a published resource.
    pub fn get(&self, type_url: &str, name: &str) -> Option<&Bytes> {
        let ix = self.order.iter().position(|url| &**url == type_url)?;
        self.stores[ix].get(name).map(|stored| &stored.content)
    }

    /// Names of a type that someone is subscribed to, published or not.
    pub fn wanted(&self, type_url: &str) -> BTreeSet<Arc<str>> {
        let ix = self.order.iter().position(|url| &**url == type_url);
        ix.map(|ix| self.stores[ix].wanted().cloned().collect())
            .unwrap_or_default()
    }

    // === Connections ===

    /// A client opened a stream.
    pub fn connect(&mut self) -> ConnectionId {
        self.next_id += 1;
        let id = ConnectionId(self.next_id);
        self.connections.insert(id, Connection::default());
        id
    }

    /// A stream ended.
    pub fn disconnect(&mut self, id: ConnectionId) {
        self.woken.remove(&id);
        let Some(connection) = self.connections.remove(&id) else {
            return;
        };
        for (type_url, subscription) in connection.types {
            let ix = self.position(&type_url);
            self.stores[ix].watch_all(id, false);
            for name in &subscription.names {
                self.stores[ix].unwatch(name, id);
            }
        }
    }

    /// Takes in a request. An error means that the stream should end.
    pub fn on_request(
        &mut self,
        id: ConnectionId,
        request: &DeltaDiscoveryRequest,
    ) -> Result<(), Violation> {
        self.check(id, request)?;
        let ix = self.position(&request.type_url);
        let type_url = self.order[ix].clone();
        let store = &mut self.stores[ix];
        let connection = self
            .connections
            .get_mut(&id)
            .ok_or(Violation::UnknownConnection)?;
        if request.node.is_some() && connection.node.is_none() {
            connection.node.clone_from(&request.node);
        }
        let first = !connection.types.contains_key(&type_url);
        let no_names = request.resource_names_subscribe.is_empty()
            && request.resource_names_unsubscribe.is_empty();
        if first && no_names && !request.response_nonce.is_empty() {
            return Ok(()); // An answer to another stream.
        }
        let subscription = connection.types.entry(type_url).or_default();

        if !request.response_nonce.is_empty() {
            let refusal = request.error_detail.as_ref().map(|status| {
                let mut end = status.message.len().min(self.config.limits.error_bytes);
                while !status.message.is_char_boundary(end) {
                    end -= 1;
                }
                Arc::from(if end == 0 {
                    "refused without a reason"
                } else {
                    &status.message[..end]
                })
            });
            subscription.answer(&request.response_nonce, refusal);
        }

        for name in &request.resource_names_unsubscribe {
            if name == WILDCARD {
                subscription.unsubscribe_all();
                store.watch_all(id, false);
            } else {
                subscription.unsubscribe(&name.as_str().into());
                store.unwatch(name, id);
            }
        }

        let mut held: BTreeMap<Arc<str>, Option<Version>> = BTreeMap::new();
        if first {
            let versions = &request.initial_resource_versions;
            held.extend(
                versions
                    .iter()
                    .map(|(name, version)| (name.as_str().into(), version.parse().ok())),
            );
        }
        let mut everything = first && no_names;
        for name in &request.resource_names_subscribe {
            if name == WILDCARD {
                everything = true;
                continue;
            }
            let name: Arc<str> = name.as_str().into();
            store.watch(&name, id);
            let version = held.remove(&name);
            subscription.subscribe(name, version);
        }
        if everything {
            store.watch_all(id, true);
            subscription.subscribe_all(store, held);
        }
        Ok(())
    }

    fn check(&self, id: ConnectionId, request: &DeltaDiscoveryRequest) -> Result<(), Violation> {
        let limits = &self.config.limits;
        let connection = self
            .connections
            .get(&id)
            .ok_or(Violation::UnknownConnection)?;
        if request.type_url.is_empty() {
            return Err(Violation::NoType);
        }
        let subscribe = &request.resource_names_subscribe;
        let unsubscribe = &request.resource_names_unsubscribe;
        let names = subscribe.len() + unsubscribe.len() + request.initial_resource_versions.len();
        if names > limits.names_per_request {
            return Err(Violation::NamesPerRequest(names));
        }
        let longest = [&request.type_url, &request.response_nonce]
            .into_iter()
            .chain(subscribe)
            .chain(unsubscribe)
            .chain(request.initial_resource_versions.keys())
            .map(String::len)
            .max()
            .unwrap_or(0);
        if longest > limits.name_bytes {
            return Err(Violation::NameBytes(longest));
        }
        let known: usize = connection.types.values().map(|t| t.names.len()).sum();
        if known + subscribe.len() > limits.names_per_connection {
            let own = connection.types.get(request.type_url.as_str());
            let new = subscribe
                .iter()
                .filter(|name| own.is_none_or(|s| !s.names.contains(name.as_str())))
                .count();
            if known + new > limits.names_per_connection {
                return Err(Violation::NamesPerConnection(limits.names_per_connection));
            }
        }
        let new_type = !connection.types.contains_key(request.type_url.as_str());
        let new_here = new_type && !self.order.iter().any(|url| **url == *request.type_url);
        if (new_type && connection.types.len() >= limits.types_per_connection)
            || (new_here && self.order.len() >= MAX_TYPES)
        {
            return Err(Violation::TypesPerConnection(limits.types_per_connection));
        }
        Ok(())
    }

    // === What is to be said ===

    /// Connections that have something to be polled for since the last call. Requests are not counted: whoever hands
    /// one in polls that connection anyway.
    pub fn take_woken(&mut self) -> BTreeSet<ConnectionId> {
        std::mem::take(&mut self.woken)
    }

    /// The next response for a connection; to be called until it returns `None`.
    pub fn poll(&mut self, id: ConnectionId) -> Option<DeltaDiscoveryResponse> {
        let connection = self.connections.get_mut(&id)?;
        let max_bytes = self.config.limits.response_bytes;

        // News: what is referred to first. Mere changes wait while something before them is waiting; answers do not.
        let mut waiting = false;
        for (type_url, store) in self.order.iter().zip(&self.stores) {
            let Some(subscription) = connection.types.get_mut(type_url) else {
                continue;
            };
            if let Some(batch) = subscription.next(store, waiting, max_bytes) {
                return Some(self.response(id, type_url.clone(), batch));
            }
            waiting |= subscription.has_news(store);
        }
        // Removals, last: only when everything new is held.
        let unsettled = |(url, store): (&Arc<str>, &Store)| {
            connection
                .types
                .get(url)
                .is_some_and(|subscription| subscription.is_unsettled(store))
        };
        if self.order.iter().zip(&self.stores).any(unsettled) {
            return None;
        }
        for (type_url, store) in self.order.iter().zip(&self.stores).rev() {
            let Some(subscription) = connection.types.get_mut(type_url) else {
                continue;
            };
            if let Some(batch) = subscription.next_removals(store) {
                return Some(self.response(id, type_url.clone(), batch));
            }
        }
        None
    }

    fn response(
        &mut self,
        id: ConnectionId,
        type_url: Arc<str>,
        batch: Batch,
    ) -> DeltaDiscoveryResponse {
        let mut nonce = String::new();
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.nonce += 1;
            connection.resources_sent += u64::try_from(batch.resources.len()).unwrap_or(u64::MAX);
            // The connection's number is part of it: an answer to another stream's response never fits.
            nonce = format!("{:x}-{:x}", id.0, connection.nonce);
            if let Some(subscription) = connection.types.get_mut(&type_url) {
                subscription.sent(nonce.clone(), &batch, self.revision.clone());
            }
        }
        let resource = |(name, stored): (Arc<str>, super::store::Stored)| Resource {
            version: stored.version.to_string(),
            resource: Some(prost_types::Any {
                type_url: type_url.to_string(),
                value: stored.content.into(),
            }),
            name: name.to_string(),
            aliases: Vec::new(),
        };
        DeltaDiscoveryResponse {
            system_version_info: self.revision.to_string(),
            resources: batch.resources.into_iter().map(resource).collect(),
            type_url: type_url.to_string(),
            nonce,
            removed_resources: batch.removed.iter().map(|name| name.to_string()).collect(),
            control_plane: Some(ControlPlane {
                identifier: self.config.identifier.clone(),
            }),
        }
    }

    /// Position of a type's store, made if need be. Types come from `Config::order`, from `update`, and from
    /// requests (bounded per connection).
    fn position(&mut self, type_url: &str) -> usize {
        if let Some(ix) = self.order.iter().position(|url| &**url == type_url) {
            return ix;
        }
        self.order.push(type_url.into());
        self.stores.push(Store::default());
        self.order.len() - 1
    }
}
