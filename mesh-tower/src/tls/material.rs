use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::error::{ErrorKind, MeshError};
use mesh_core::identity::SpiffeId;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{provider, spiffe};

/// Who this process is: a certificate chain, leaf first, and the leaf's private key.
pub struct Identity {
    id: SpiffeId,
    key: Arc<CertifiedKey>,
    not_before: SystemTime,
    not_after: SystemTime,
}

// === impl Identity ===

impl Identity {
    /// From PEM texts. The leaf must be an X.509-SVID and match the key; whether it is trusted is
    /// the peers' affair.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Identity`] with what is wrong with the material.
    pub fn from_pem(chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self, MeshError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_ref())
            .collect::<Result<_, _>>()
            .map_err(|error| bad("the certificate chain is not PEM").with_source(error))?;
        let key = PrivateKeyDer::from_pem_slice(key.as_ref())
            .map_err(|error| bad("the private key is not PEM").with_source(error))?;
        Self::from_parts(chain, key)
    }

    /// From DER: certificates, leaf first, and a PKCS#8, SEC1 or PKCS#1 key.
    ///
    /// # Errors
    ///
    /// As [`Identity::from_pem`].
    pub fn from_der(chain: Vec<Vec<u8>>, key: Vec<u8>) -> Result<Self, MeshError> {
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        let key = PrivateKeyDer::try_from(key).map_err(bad)?;
        Self::from_parts(chain, key)
    }

    fn from_parts(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, MeshError> {
        let leaf = chain
            .first()
            .ok_or_else(|| bad("there is no certificate"))?;
        let id = spiffe::leaf_id(leaf)
            .map_err(|what| bad(format!("the certificate is no workload identity: {what}")))?;
        Self::build(id, chain, key)
    }

    fn build(
        id: SpiffeId,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, MeshError> {
        let (not_before, not_after) = chain
            .first()
            .and_then(|leaf| spiffe::validity(leaf))
            .ok_or_else(|| bad("the certificate cannot be read"))?;
        // Checks that the key fits the leaf, too.
        let key = CertifiedKey::from_der(chain, key, &provider())
            .map_err(|error| bad("the private key cannot be used").with_source(error))?;
        Ok(Self {
            id,
            key: Arc::new(key),
            not_before: time(not_before),
            not_after: time(not_after),
        })
    }

    /// The name that the leaf proves.
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.id
    }

    /// When the leaf becomes valid.
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// When the leaf expires.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The certificates, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }

    pub(super) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// Material that breaks the rules, to show that peers refuse it.
    #[cfg(test)]
    pub(super) fn unchecked(chain_pem: &str, key_pem: &str) -> Self {
        let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes()).map(|c| c.expect("PEM"));
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).expect("PEM");
        let id = SpiffeId::parse("spiffe://unchecked/x").expect("an id");
        Self::build(id, chain.collect(), key).expect("a usable key")
    }
}

fn bad(what: impl Into<String>) -> MeshError {
    MeshError::new(ErrorKind::Identity, what)
}

fn time(unix: i64) -> SystemTime {
    let seconds = Duration::from_secs(unix.unsigned_abs());
    let time = if unix < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

impl fmt::Debug for Identity {
    /// Never the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("id", &self.id)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}
