use std::sync::{Arc, OnceLock};

use mesh_core::balance::EndpointInfo;
use mesh_core::policy::model::{AppProtocol, Backend, Discovery, TlsMode};

use crate::tls::{ClientTls, Credentials, Expect};
use crate::transport::{Connect, EndpointPool, PoolConfig, Protocol, Room};

/// Makes the connection pools of endpoints.
pub(crate) struct Connector {
    connect: Arc<dyn Connect>,
    credentials: Credentials,
    workers: usize,
    /// The system's roots, read when first needed.
    system: OnceLock<ClientTls>,
}

// === impl Connector ===

impl Connector {
    pub(crate) fn new(connect: Arc<dyn Connect>, credentials: Credentials, workers: usize) -> Self {
        Self {
            connect,
            credentials,
            workers,
            system: OnceLock::new(),
        }
    }

    /// The pool of one endpoint. Whether it speaks TLS is fixed with it: an endpoint with an
    /// identity is never dialled in plaintext, whatever the state of our own credentials.
    pub(super) fn pool(&self, policy: &Backend, info: &EndpointInfo, room: &Room) -> EndpointPool {
        let (config, connect) = self.reach(policy, info);
        EndpointPool::sharing(config, connect, room.clone())
    }

    /// How an endpoint is connected to.
    pub(super) fn reach(
        &self,
        policy: &Backend,
        info: &EndpointInfo,
    ) -> (PoolConfig, Arc<dyn Connect>) {
        let protocol = match policy.app_protocol() {
            AppProtocol::Http2 | AppProtocol::Grpc => Protocol::Http2,
            AppProtocol::Tcp => Protocol::Bytes,
            _ => Protocol::Auto,
        };
        let mut config = PoolConfig::new(info.addr)
            .with_protocol(protocol)
            .with_policy(*policy.connection())
            .with_alternate(info.alternate)
            .with_shards(self.workers);
        config.tls = self.tls(policy, info);
        (config, self.connect.clone())
    }

    fn tls(&self, policy: &Backend, info: &EndpointInfo) -> Option<(ClientTls, Expect)> {
        match policy.tls() {
            TlsMode::Plaintext => None,
            TlsMode::Mesh => {
                let expected = info
                    .identity
                    .clone()
                    .or_else(|| policy.key().identity().cloned())?;
                Some((ClientTls::new(&self.credentials), Expect::Id(expected)))
            }
            TlsMode::System => {
                let name = match policy.discovery() {
                    Discovery::External { host, .. } | Discovery::Dns { host, .. } => {
                        host.to_string()
                    }
                    _ => info.addr.ip().to_string(),
                };
                let tls = self.system.get_or_init(|| {
                    ClientTls::with_system_roots().unwrap_or_else(|error| {
                        // Fails closed: no root vouches for anything.
                        tracing::error!(%error, host = name, "no TLS to the outside");
                        ClientTls::new(&Credentials::new())
                    })
                });
                Some((tls.clone(), Expect::Name(name)))
            }
        }
    }
}
