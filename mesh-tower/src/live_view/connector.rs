use std::sync::Arc;

use mesh_core::balance::EndpointInfo;
use mesh_core::policy::model::{AppProtocol, Backend, Discovery, TlsMode};

use crate::telemetry::Recorder;
use crate::tls::{ClientTls, Credentials, Expect};
use crate::transport::{Connect, EndpointPool, PoolConfig, Protocol};

/// Makes the connection pools of endpoints.
pub(crate) struct Connector {
    connect: Arc<dyn Connect>,
    credentials: Credentials,
    _recorder: Recorder,
}

// === impl Connector ===

impl Connector {
    pub(crate) fn new(
        connect: Arc<dyn Connect>,
        credentials: Credentials,
        recorder: &Recorder,
    ) -> Self {
        Self { connect, credentials, _recorder: recorder.clone() }
    }

    /// The pool of one endpoint. Whether it speaks TLS is fixed with it: an endpoint with an
    /// identity is never dialled in plaintext, whatever the state of our own credentials.
    pub(super) fn pool(&self, policy: &Backend, info: &EndpointInfo) -> EndpointPool {
        let mut config = PoolConfig::new(info.addr);
        config.protocol = match policy.app_protocol() {
            AppProtocol::Http2 | AppProtocol::Grpc => Protocol::Http2,
            _ => Protocol::Auto,
        };
        config.connect_timeout = policy.connect_timeout();
        config.tls = self.tls(policy, info);
        EndpointPool::new(config, self.connect.clone())
    }

    fn tls(&self, policy: &Backend, info: &EndpointInfo) -> Option<(ClientTls, Expect)> {
        match policy.tls() {
            TlsMode::Plaintext => None,
            TlsMode::Mesh => {
                let expected = info.identity.clone().or_else(|| policy.key().identity().cloned())?;
                Some((ClientTls::new(&self.credentials), Expect::Id(expected)))
            }
            TlsMode::System => {
                let name = match policy.discovery() {
                    Discovery::External { host, .. } | Discovery::Dns { host, .. } => {
                        host.to_string()
                    }
                    _ => info.addr.ip().to_string(),
                };
                match ClientTls::with_system_roots() {
                    Ok(tls) => Some((tls, Expect::Name(name))),
                    Err(error) => {
                        // Fails closed: no root vouches for anything.
                        tracing::error!(%error, host = name, "no TLS to the outside");
                        Some((ClientTls::new(&Credentials::new()), Expect::Name(name)))
                    }
                }
            }
        }
    }
}
