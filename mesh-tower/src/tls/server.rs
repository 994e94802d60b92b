use std::sync::Arc;

use mesh_core::error::MeshError;
use mesh_core::identity::SpiffeId;
use mesh_core::policy::defaults;
use mesh_core::policy::model::TlsVersion;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio_rustls::TlsAcceptor;

use super::credentials::State;
use super::verify::SpiffeClients;
use super::{BYTES, Credentials, HANDSHAKE_TIMEOUT, TlsFailure, provider, spiffe};
use crate::transport::BoxIo;

static NEWEST: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// What is asked of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    certificate: Certificate,
    least: TlsVersion,
    speaks: Speaks,
}

/// What is spoken inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Http,
    Bytes,
}

/// Whether a client must prove who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certificate {
    Required,
    Optional,
}

/// The server's side of TLS, always with the credentials in force.
#[derive(Clone, Debug)]
pub struct ServerTls {
    credentials: Credentials,
    demand: Demand,
}

/// A finished handshake.
pub struct Accepted {
    /// The decrypted stream.
    pub io: BoxIo,
    /// Who the client proved to be; `None` only where a certificate is optional.
    pub peer: Option<SpiffeId>,
    /// The application protocol agreed on, `h2` or `http/1.1`.
    pub alpn: Option<Vec<u8>>,
}

// === impl ServerTls ===

impl ServerTls {
    /// Every client must prove an identity.
    pub fn required(credentials: &Credentials) -> Self {
        Self::new(credentials, Certificate::Required)
    }

    /// A client without a certificate is let in as nobody: for joining only. A certificate that is
    /// shown must still be a good one.
    pub fn optional(credentials: &Credentials) -> Self {
        Self::new(credentials, Certificate::Optional)
    }

    fn new(credentials: &Credentials, certificate: Certificate) -> Self {
        Self {
            credentials: credentials.clone(),
            demand: Demand {
                certificate,
                least: defaults::MIN_TLS_VERSION,
                speaks: Speaks::Http,
            },
        }
    }

    /// The same for clients that speak at least `least`; 1.2 unless told otherwise. It counts for
    /// the handshakes of the returned value: those that are done stay.
    #[must_use]
    pub fn at_least(&self, least: TlsVersion) -> Self {
        Self {
            credentials: self.credentials.clone(),
            demand: Demand {
                least,
                ..self.demand
            },
        }
    }

    /// The same for bytes instead of HTTP. A client that does not ask for them by name is refused.
    #[must_use]
    pub(crate) fn for_bytes(&self) -> Self {
        Self {
            credentials: self.credentials.clone(),
            demand: Demand {
                speaks: Speaks::Bytes,
                ..self.demand
            },
        }
    }

    /// Takes a connection through the handshake, at most 10 s.
    ///
    /// # Errors
    ///
    /// [`Tls`](mesh_core::error::ErrorKind::Tls) or
    /// [`Identity`](mesh_core::error::ErrorKind::Identity), see [`TlsFailure`].
    pub async fn accept(&self, io: BoxIo) -> Result<Accepted, MeshError> {
        self.handshake(io)
            .await
            .map_err(|failure| failure.into_error("handshake refused"))
    }

    async fn handshake(&self, io: BoxIo) -> Result<Accepted, TlsFailure> {
        let config = self.credentials.state().server(self.demand)?;
        let handshake = TlsAcceptor::from(config).accept(io);
        let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
            Ok(result) => result.map_err(|error| TlsFailure::of_io(&error))?,
            Err(_) => {
                return Err(TlsFailure::Handshake(format!(
                    "not done after {HANDSHAKE_TIMEOUT:?}"
                )));
            }
        };
        let (_, session) = stream.get_ref();
        let peer = match session.peer_certificates().and_then(|chain| chain.first()) {
            // The verifier has let it pass; this only reads the name again.
            Some(leaf) => Some(spiffe::leaf_id(leaf).map_err(TlsFailure::Identity)?),
            None => None,
        };
        let alpn = session.alpn_protocol().map(<[u8]>::to_vec);
        if self.demand.speaks == Speaks::Bytes && alpn.as_deref() != Some(BYTES) {
            // One that offers other protocols fails in the handshake; this one offered none.
            let what = "the client did not ask for bytes (ALPN mesh-tcp/1)";
            return Err(TlsFailure::Handshake(what.to_owned()));
        }
        Ok(Accepted {
            io: Box::new(stream),
            peer,
            alpn,
        })
    }
}

// === impl Demand ===

impl Demand {
    /// How many there are.
    pub(super) const KINDS: usize = 8;

    /// Its position among all of them.
    pub(super) fn index(self) -> usize {
        let certificate = match self.certificate {
            Certificate::Required => 0,
            Certificate::Optional => 1,
        };
        let least = match self.least {
            TlsVersion::Tls12 => 0,
            TlsVersion::Tls13 => 2,
        };
        let speaks = match self.speaks {
            Speaks::Http => 0,
            Speaks::Bytes => 4,
        };
        certificate + least + speaks
    }
}

/// Those that are not older than `least`.
pub(super) fn versions(least: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match least {
        TlsVersion::Tls12 => rustls::ALL_VERSIONS,
        TlsVersion::Tls13 => NEWEST,
    }
}

pub(super) fn config(state: &State, demand: Demand) -> Result<ServerConfig, TlsFailure> {
    let identity = state
        .identity()
        .ok_or_else(|| TlsFailure::Identity("this process has no identity yet".to_owned()))?;
    let verifier = SpiffeClients {
        trust: state.trust().clone(),
        certificate: demand.certificate,
    };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(demand.least))
        .map_err(|error| TlsFailure::Handshake(error.to_string()))?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(resolver(identity.key()));
    config.alpn_protocols = match demand.speaks {
        Speaks::Http => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Speaks::Bytes => vec![BYTES.to_vec()],
    };
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn resolver(key: &Arc<CertifiedKey>) -> Arc<dyn ResolvesServerCert> {
    Arc::new(SingleCertAndKey::from(key.clone()))
}

impl std::fmt::Debug for Accepted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accepted")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
