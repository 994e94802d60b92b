//! What can be seen of a connection from outside.

use std::{collections::BTreeMap, sync::Arc};

use super::{ConnectionId, Engine};
use crate::{engine::Version, pb::discovery::Node};

/// State of one connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionView {
    /// Which connection.
    pub id: ConnectionId,
    /// What the client said about itself in its first request.
    pub node: Option<Node>,
    /// By type, in push order.
    pub types: Vec<TypeView>,
    /// The revision that the client runs, as far as it matters to it; `None` before its first ACK,
    /// unless it came with what it holds.
    pub revision: Option<Arc<str>>,
    /// Something published that the client wants is not confirmed by it.
    pub behind: bool,
    /// Resources in all responses on this connection. A client that comes back with what it holds costs none.
    pub resources_sent: u64,
}

/// State of one type of one connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TypeView {
    /// Type URL.
    pub type_url: Arc<str>,
    /// Names subscribed.
    pub subscribed: usize,
    /// Subscribed to everything.
    pub wildcard: bool,
    /// What the client confirmed to hold; `None` for content that this server never hashed.
    pub held: BTreeMap<Arc<str>, Option<Version>>,
    /// Revision of the last response that it accepted.
    pub acked_revision: Option<Arc<str>>,
    /// Why it refused, while something is refused.
    pub nack: Option<Arc<str>>,
    /// Something of this type is not confirmed.
    pub behind: bool,
}

impl Engine {
    /// State of one connection.
    pub fn connection(&self, id: ConnectionId) -> Option<ConnectionView> {
        let connection = self.connections.get(&id)?;
        let mut types = Vec::with_capacity(connection.types.len());
        for (type_url, store) in self.order.iter().zip(&self.stores) {
            let Some(subscription) = connection.types.get(type_url) else {
                continue;
            };
            types.push(TypeView {
                type_url: type_url.clone(),
                subscribed: subscription.names.len(),
                wildcard: subscription.wildcard,
                held: subscription.held.clone(),
                acked_revision: subscription.acked_revision.clone(),
                nack: subscription.nack.clone(),
                behind: subscription.is_behind(store),
            });
        }
        let behind = types.iter().any(|t| t.behind);
        let heard = types
            .iter()
            .any(|t| t.acked_revision.is_some() || !t.held.is_empty());
        let revision = if behind || !heard {
            types.iter().rev().find_map(|t| t.acked_revision.clone())
        } else {
            Some(self.revision.clone())
        };
        Some(ConnectionView {
            id,
            node: connection.node.clone(),
            types,
            revision,
            behind,
            resources_sent: connection.resources_sent,
        })
    }

    /// State of all connections, oldest first.
    pub fn connections(&self) -> Vec<ConnectionView> {
        self.connections
            .keys()
            .filter_map(|id| self.connection(*id))
            .collect()
    }
}
