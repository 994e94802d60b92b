//! What is taken from a certificate signing request: its public key, and nothing else.

use std::fmt;

use rcgen::{PublicKeyData, SubjectPublicKeyInfo};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

/// A CSR of a P-256 key is about 200 bytes; a larger one than this is not read.
const MAX_CSR: usize = 8 * 1024;

/// Why a CSR was refused (`M4006`).
#[derive(Debug)]
pub(crate) struct CsrError(String);

impl CsrError {
    pub(super) fn signing(error: impl fmt::Display) -> Self {
        Self(format!("could not be signed: {error}"))
    }
}

impl fmt::Display for CsrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CsrError {}

/// The public key of a request whose signature proves possession of the private key. P-256, P-384
/// and Ed25519 are taken; RSA is not, its handshakes cost the servers ten times as much.
pub(super) fn public_key(csr_der: &[u8]) -> Result<SubjectPublicKeyInfo, CsrError> {
    if csr_der.len() > MAX_CSR {
        return Err(CsrError(format!(
            "is {} bytes, at most {MAX_CSR} are read",
            csr_der.len()
        )));
    }
    let (rest, csr) = X509CertificationRequest::from_der(csr_der)
        .map_err(|_| CsrError("is not a PKCS#10 request in DER".to_owned()))?;
    if !rest.is_empty() {
        return Err(CsrError("has bytes after its end".to_owned()));
    }
    csr.verify_signature()
        .map_err(|_| CsrError("is not signed by the key it asks for".to_owned()))?;
    let key = SubjectPublicKeyInfo::from_der(csr.certification_request_info.subject_pki.raw)
        .map_err(|_| CsrError("asks for a kind of key that is not supported".to_owned()))?;
    let allowed = [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ];
    if !allowed
        .iter()
        .any(|algorithm| **algorithm == *key.algorithm())
    {
        return Err(CsrError(
            "must be of a P-256, P-384 or Ed25519 key".to_owned(),
        ));
    }
    Ok(key)
}
