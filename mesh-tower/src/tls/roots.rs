use std::collections::BTreeMap;
use std::fmt;

use mesh_core::error::{ErrorKind, MeshError};
use mesh_core::identity::check_trust_domain;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor};

/// The authorities of each trust domain that this process believes. A leaf is only ever checked
/// against those of its own domain.
#[derive(Clone, Default)]
pub struct TrustRoots(BTreeMap<String, Bundle>);

#[derive(Clone, Default)]
struct Bundle {
    certificates: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
}

// === impl TrustRoots ===

impl TrustRoots {
    /// No authority at all: every peer is refused.
    pub fn new() -> Self {
        Self::default()
    }

    /// From PEM texts by trust domain.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Identity`] if a trust domain is misspelt or a text holds no certificate.
    pub fn from_pem<D, P>(bundles: impl IntoIterator<Item = (D, P)>) -> Result<Self, MeshError>
    where
        D: Into<String>,
        P: AsRef<[u8]>,
    {
        let mut roots = Self::new();
        for (domain, pem) in bundles {
            let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_ref())
                .collect::<Result<_, _>>()
                .map_err(|error| bad("the trust bundle is not PEM").with_source(error))?;
            roots.insert(domain.into(), certificates)?;
        }
        Ok(roots)
    }

    /// From DER certificates by trust domain.
    ///
    /// # Errors
    ///
    /// As [`TrustRoots::from_pem`].
    pub fn from_der<D: Into<String>>(
        bundles: impl IntoIterator<Item = (D, Vec<Vec<u8>>)>,
    ) -> Result<Self, MeshError> {
        let mut roots = Self::new();
        for (domain, certificates) in bundles {
            let certificates = certificates.into_iter().map(CertificateDer::from).collect();
            roots.insert(domain.into(), certificates)?;
        }
        Ok(roots)
    }

    fn insert(
        &mut self,
        domain: String,
        certificates: Vec<CertificateDer<'static>>,
    ) -> Result<(), MeshError> {
        check_trust_domain(&domain).map_err(|error| bad(error.to_string()))?;
        if certificates.is_empty() {
            return Err(bad(format!(
                "the trust bundle of {domain} holds no certificate"
            )));
        }
        let bundle = self.0.entry(domain).or_default();
        for certificate in certificates {
            let anchor = webpki::anchor_from_trusted_cert(&certificate)
                .map_err(|error| bad("a certificate cannot be an authority").with_source(error))?
                .to_owned();
            bundle.anchors.push(anchor);
            bundle.certificates.push(certificate);
        }
        Ok(())
    }

    /// The trust domains, sorted.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The authorities of a trust domain; none if it is not trusted.
    pub fn certificates(&self, domain: &str) -> &[CertificateDer<'static>] {
        self.0
            .get(domain)
            .map_or(&[], |bundle| &bundle.certificates)
    }

    pub(super) fn anchors(&self, domain: &str) -> &[TrustAnchor<'static>] {
        self.0.get(domain).map_or(&[], |bundle| &bundle.anchors)
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for TrustRoots {
    fn eq(&self, other: &Self) -> bool {
        let certificates = |roots: &Self| -> Vec<_> {
            roots
                .0
                .iter()
                .map(|(d, b)| (d.clone(), b.certificates.clone()))
                .collect()
        };
        certificates(self) == certificates(other)
    }
}

impl fmt::Debug for TrustRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self
            .0
            .iter()
            .map(|(domain, bundle)| (domain, bundle.anchors.len()));
        f.debug_map().entries(counts).finish()
    }
}

fn bad(what: impl Into<String>) -> MeshError {
    MeshError::new(ErrorKind::Identity, what)
}
