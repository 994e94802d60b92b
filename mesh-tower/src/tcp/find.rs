//! From what a connection says of itself to a service of the policy.

use std::net::SocketAddr;

use mesh_core::name::ServiceName;
use mesh_core::policy::model::{AppProtocol, Discovery, Service};

use super::TcpClient;
use crate::Mesh;

/// A service that a name or an address means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    service: ServiceName,
    port: Option<u16>,
    tcp: bool,
}

// === impl Destination ===

impl Destination {
    /// As [`Mesh::client`] and [`Mesh::tcp`] take it: `reviews.shop:8080`.
    pub fn target(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.service.host()),
            None => self.service.host(),
        }
    }

    /// Whether the policy says that the port speaks `tcp`.
    pub fn is_tcp(&self) -> bool {
        self.tcp
    }
}

impl Mesh {
    /// The service that a host means, at a port that it has. Of the policy that is here: a service
    /// that only a control server knows is none before somebody has asked for it by name.
    pub fn find_host(&self, host: &str, port: Option<u16>) -> Option<Destination> {
        let policy = self.inner().store.current();
        let outbound = policy.outbound();
        let service = outbound.resolve_host(host, port)?;
        Some(self.destination(service, port))
    }

    /// The service that has a fixed endpoint at this address. Looks at all of them: for new
    /// connections, not for calls.
    pub fn find_addr(&self, addr: SocketAddr) -> Option<Destination> {
        let policy = self.inner().store.current();
        let has = |service: &&std::sync::Arc<Service>| match service.discovery() {
            Discovery::Static(endpoints) => endpoints.iter().any(|one| one.addr == addr),
            _ => false,
        };
        // In an order that does not change from one look to the next.
        let service = policy
            .outbound()
            .services()
            .filter(has)
            .min_by_key(|service| service.name().clone())?;
        Some(self.destination(service, service.first_port()))
    }

    fn destination(&self, service: &Service, port: Option<u16>) -> Destination {
        let policy = self.inner().store.current();
        let backend = policy.outbound().backend(service.backend(port));
        Destination {
            service: service.name().clone(),
            port,
            tcp: backend.is_some_and(|one| one.app_protocol() == AppProtocol::Tcp),
        }
    }

    /// A client of bytes that are TLS already, end to end: a server outside is connected to without
    /// TLS of our own around it.
    pub fn pass_through(&self, target: &str) -> TcpClient {
        self.tcp(target).through()
    }
}
