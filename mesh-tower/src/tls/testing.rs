//! Authorities and leaves, good and bad.

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use std::sync::Arc;

use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ProtocolVersion};
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::verify::SpiffeServers;
use super::{Credentials, Identity, TrustRoots, provider};
use crate::transport::BoxIo;

/// A handshake by a client that knows nothing newer than TLS 1.2, for HTTP/2.
pub(crate) async fn connect_tls12(
    credentials: &Credentials,
    io: BoxIo,
) -> std::io::Result<TlsStream<BoxIo>> {
    let state = credentials.state();
    let key = state.identity().expect("an identity").key().clone();
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .expect("suites of TLS 1.2")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(SpiffeServers {
            trust: state.trust().clone(),
            expected: None,
        }))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("reviews.shop").expect("a name");
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, io)
        .await?;
    let version = stream.get_ref().1.protocol_version();
    assert_eq!(version, Some(ProtocolVersion::TLSv1_2));
    Ok(stream)
}

/// An authority of one trust domain.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
    pub(crate) der: Vec<u8>,
}

/// A leaf's texts.
pub(crate) struct Leaf {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "test authority");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self {
            pem: certificate.pem(),
            der: certificate.der().to_vec(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A leaf with `ids` as URI names, changed by `edit`.
    pub(crate) fn leaf(&self, ids: &[&str], edit: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.subject_alt_names = ids
            .iter()
            .map(|id| SanType::URI((*id).try_into().expect("a URI")))
            .collect();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        edit(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Leaf {
            chain: certificate.pem() + &self.pem,
            key: key.serialize_pem(),
        }
    }

    pub(crate) fn identity(&self, id: &str) -> Identity {
        let leaf = self.leaf(&[id], |_| {});
        Identity::from_pem(leaf.chain, leaf.key).expect("an identity")
    }

    pub(crate) fn roots(&self, domain: &str) -> TrustRoots {
        TrustRoots::from_pem([(domain, &self.pem)]).expect("roots")
    }

    /// Credentials of `id` that trust this authority for `mesh.local`.
    pub(crate) fn credentials(&self, id: &str) -> Credentials {
        let credentials = Credentials::new();
        credentials.set_trust(self.roots("mesh.local"));
        credentials.set_identity(self.identity(id));
        credentials
    }
}
