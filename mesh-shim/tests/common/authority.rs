use std::net::SocketAddr;

use mesh_core::balance::EndpointInfo;
use mesh_tower::tls::{Credentials, Identity, TrustRoots};
use rcgen::{CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};

use super::Scratch;

/// An authority: of the trust domain `mesh.local`, or one that clients outside believe.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        // OpenSSL takes a leaf whose issuer has its own name for self-signed.
        let name = "an authority for tests";
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// The identity of a service.
    pub(crate) fn leaf(&self, namespace: &str, service: &str) -> Leaf {
        let id = format!("spiffe://mesh.local/ns/{namespace}/sa/{service}");
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id.as_str().try_into().unwrap())];
        self.sign(params)
    }

    /// The identity of a service of `shop` as files in a directory of its name, as `--identity` takes it.
    pub(crate) fn identity(&self, scratch: &Scratch, service: &str) -> String {
        let leaf = self.leaf("shop", service);
        for (name, text) in [
            ("key", &leaf.key),
            ("roots", &self.pem),
            ("cert", &leaf.cert),
        ] {
            scratch.write(&format!("{service}/{name}.pem"), text);
        }
        format!("dir:{}", scratch.at(service))
    }

    /// The same for a mesh in the test's own process.
    pub(crate) fn credentials(&self, service: &str) -> Credentials {
        let leaf = self.leaf("shop", service);
        let credentials = Credentials::new();
        let roots = TrustRoots::from_pem([("mesh.local", self.pem.as_str())]);
        credentials.set_trust(roots.unwrap());
        credentials.set_identity(Identity::from_pem(&leaf.cert, &leaf.key).unwrap());
        credentials
    }

    /// A certificate for names and addresses of hosts.
    pub(crate) fn hosts(&self, names: &[&str]) -> Leaf {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.sign(CertificateParams::new(names).unwrap())
    }

    fn sign(&self, mut params: CertificateParams) -> Leaf {
        let key = KeyPair::generate().unwrap();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.is_ca = IsCa::ExplicitNoCa;
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        Leaf {
            cert,
            key: key.serialize_pem(),
        }
    }
}

/// An instance of a service of `shop`, which proves that it is one.
pub(crate) fn instance(service: &str, addr: SocketAddr) -> EndpointInfo {
    let id = format!("spiffe://mesh.local/ns/shop/sa/{service}");
    EndpointInfo {
        identity: Some(id.parse().unwrap()),
        ..EndpointInfo::new(addr)
    }
}
