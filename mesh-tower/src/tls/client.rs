use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use mesh_core::error::{ErrorKind, MeshError};
use mesh_core::identity::SpiffeId;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio_rustls::TlsConnector;

use super::pin::PinnedAuthority;
use super::verify::SpiffeServers;
use super::watched::{LateFailure, Watched};
use super::{BYTES, Credentials, HANDSHAKE_TIMEOUT, Identity, TlsFailure, provider, spiffe};
use crate::transport::BoxIo;

/// The client's side of TLS.
#[derive(Clone)]
pub struct ClientTls(Mode);

#[derive(Clone)]
enum Mode {
    /// Mutual TLS inside the mesh.
    Mesh(Credentials),
    /// A server outside, by its DNS name.
    Roots(Arc<WebPkiServerVerifier>),
    /// The first meeting with the control server.
    Pinned([u8; 32]),
}

/// Who the server must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Any identity that the roots vouch for.
    #[default]
    Any,
    /// Exactly this identity.
    Id(SpiffeId),
    /// A host name: what is checked in DNS mode, and only sent as SNI otherwise.
    Name(String),
}

/// Which application protocols are offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alpn {
    /// Only HTTP/1.1.
    Http1,
    /// Only HTTP/2.
    Http2,
    /// Both; the server chooses.
    #[default]
    Both,
    /// No HTTP: bytes. In the mesh the server must agree to that by name; a server outside is
    /// offered nothing.
    Bytes,
    /// Bytes that are TLS already: as [`Alpn::Bytes`] in the mesh, nothing at all to the outside.
    Through,
}

/// A finished handshake.
pub struct Connected {
    /// The decrypted stream.
    pub io: BoxIo,
    /// Who the server proved to be; `None` in DNS mode.
    pub peer: Option<SpiffeId>,
    /// Whether HTTP/2 was agreed on.
    pub h2: bool,
    pub(crate) late: LateFailure,
}

// === impl ClientTls ===

impl ClientTls {
    /// Mutual TLS inside the mesh, with the credentials in force at each handshake.
    pub fn new(credentials: &Credentials) -> Self {
        Self(Mode::Mesh(credentials.clone()))
    }

    /// TLS to a server outside the mesh, checked by DNS name against these authorities.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Tls`] if the text holds no usable certificate.
    pub fn with_roots_pem(pem: impl AsRef<[u8]>) -> Result<Self, MeshError> {
        let bad = |what: &str| MeshError::new(ErrorKind::Tls, what);
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_slice_iter(pem.as_ref()).filter_map(Result::ok);
        // System bundles hold a few that webpki cannot read: the others serve.
        roots.add_parsable_certificates(certificates);
        if roots.is_empty() {
            return Err(bad("no authority's certificate was found"));
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| bad("the authorities cannot be used").with_source(error))?;
        Ok(Self(Mode::Roots(verifier)))
    }

    /// TLS to a server outside the mesh, with the system's authorities: `SSL_CERT_FILE`, else the
    /// usual places. Reads files: not for the hot path.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Tls`] if there are none.
    pub fn with_system_roots() -> Result<Self, MeshError> {
        const PLACES: [&str; 4] = [
            "/etc/ssl/certs/ca-certificates.crt",
            "/etc/pki/tls/certs/ca-bundle.crt",
            "/etc/ssl/cert.pem",
            "/etc/ssl/ca-bundle.pem",
        ];
        let named = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
        let places = named.into_iter().chain(PLACES.iter().map(Into::into));
        for place in places {
            if let Ok(pem) = std::fs::read(&place) {
                return Self::with_roots_pem(pem);
            }
        }
        let what = "the system's authorities were not found; set SSL_CERT_FILE";
        Err(MeshError::new(ErrorKind::Tls, what))
    }

    /// TLS to a server whose authority's certificate (DER) has this SHA-256. No certificate of ours
    /// is shown.
    pub fn pinned(sha256: [u8; 32]) -> Self {
        Self(Mode::Pinned(sha256))
    }

    /// Whether its servers are of the mesh.
    pub(crate) fn is_mesh(&self) -> bool {
        matches!(self.0, Mode::Mesh(_))
    }

    /// Takes a connection through the handshake, at most 10 s. `host` is the address as a fallback
    /// for the name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Tls`] or [`ErrorKind::Identity`], see [`TlsFailure`].
    pub async fn connect(
        &self,
        io: BoxIo,
        host: IpAddr,
        expect: &Expect,
        alpn: Alpn,
    ) -> Result<Connected, MeshError> {
        self.handshake(io, host, expect, alpn)
            .await
            .map_err(|failure| failure.into_error("TLS handshake failed"))
    }

    pub(crate) async fn handshake(
        &self,
        io: BoxIo,
        host: IpAddr,
        expect: &Expect,
        alpn: Alpn,
    ) -> Result<Connected, TlsFailure> {
        let config = self.config(expect, alpn)?;
        let name = match expect {
            Expect::Name(name) => ServerName::try_from(name.clone())
                .map_err(|_| TlsFailure::Handshake(format!("{name} is not a host name")))?,
            Expect::Any | Expect::Id(_) => ServerName::IpAddress(host.into()),
        };
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, io);
        let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
            Ok(result) => result.map_err(|error| TlsFailure::of_io(&error))?,
            Err(_) => {
                return Err(TlsFailure::Handshake(format!(
                    "not done after {HANDSHAKE_TIMEOUT:?}"
                )));
            }
        };
        let (_, session) = stream.get_ref();
        let agreed = session.alpn_protocol();
        if matches!(alpn, Alpn::Bytes | Alpn::Through)
            && agreed != Some(BYTES)
            && !matches!(self.0, Mode::Roots(_))
        {
            let what = "the peer does not take bytes: its port is not a TCP port of the mesh";
            return Err(TlsFailure::Handshake(what.to_owned()));
        }
        let h2 = match agreed {
            Some(protocol) => protocol == b"h2",
            // A server that does not know ALPN was asked for one protocol only, or speaks the old.
            None => alpn == Alpn::Http2,
        };
        let leaf = session.peer_certificates().and_then(|chain| chain.first());
        let peer = match &self.0 {
            Mode::Roots(_) => None,
            // The verifier has let it pass; this only reads the name again.
            Mode::Mesh(_) | Mode::Pinned(_) => leaf.and_then(|leaf| spiffe::leaf_id(leaf).ok()),
        };
        let late = LateFailure::default();
        let io = Watched::new(stream, late.clone());
        Ok(Connected {
            io: Box::new(io),
            peer,
            h2,
            late,
        })
    }

    /// Built for each handshake: it is a handful of `Arc`s, and so it is never out of date.
    fn config(&self, expect: &Expect, alpn: Alpn) -> Result<ClientConfig, TlsFailure> {
        let id = match expect {
            Expect::Id(id) => Some(id.clone()),
            Expect::Any | Expect::Name(_) => None,
        };
        let mut identity: Option<Arc<Identity>> = None;
        let verifier: Arc<dyn ServerCertVerifier> = match &self.0 {
            Mode::Mesh(credentials) => {
                let state = credentials.state();
                identity = state.identity().cloned();
                Arc::new(SpiffeServers {
                    trust: state.trust().clone(),
                    expected: id,
                })
            }
            Mode::Roots(verifier) => {
                if id.is_some() {
                    let what = "a SPIFFE identity cannot be checked against the roots of the web";
                    return Err(TlsFailure::Handshake(what.to_owned()));
                }
                verifier.clone()
            }
            Mode::Pinned(sha256) => Arc::new(PinnedAuthority {
                sha256: *sha256,
                expected: id,
            }),
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .map_err(|error| TlsFailure::Handshake(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(
                identity.key().clone(),
            ))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = match alpn {
            Alpn::Http1 => vec![b"http/1.1".to_vec()],
            Alpn::Http2 => vec![b"h2".to_vec()],
            Alpn::Both => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Alpn::Bytes | Alpn::Through if matches!(self.0, Mode::Roots(_)) => Vec::new(),
            Alpn::Bytes | Alpn::Through => vec![BYTES.to_vec()],
        };
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Mode::Mesh(_) => "ClientTls(mesh)",
            Mode::Roots(_) => "ClientTls(roots)",
            Mode::Pinned(_) => "ClientTls(pinned)",
        })
    }
}

impl fmt::Debug for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connected")
            .field("peer", &self.peer)
            .field("h2", &self.h2)
            .finish_non_exhaustive()
    }
}
