//! Trust by the hash of an authority's certificate: how a process that has only a join token meets
//! the control server for the first time.

use mesh_core::identity::SpiffeId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::KeyUsage;

use super::verify::{path, signatures};
use super::{TlsFailure, provider, sha256, spiffe};

/// Accepts a server whose chain contains the certificate with this SHA-256, and whose leaf is
/// signed by it. The server must send that certificate along.
#[derive(Debug)]
pub(super) struct PinnedAuthority {
    pub(super) sha256: [u8; 32],
    pub(super) expected: Option<SpiffeId>,
}

// === impl PinnedAuthority ===

impl PinnedAuthority {
    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), TlsFailure> {
        let pinned = intermediates
            .iter()
            .find(|certificate| sha256(certificate) == self.sha256)
            .ok_or_else(|| {
                let what = "the server's authority is not the one that the token names";
                TlsFailure::Identity(what.to_owned())
            })?;
        let bad = |error: webpki::Error| match error {
            webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => {
                TlsFailure::Expired(format!("the server's certificate: {error}"))
            }
            other => TlsFailure::Identity(format!("the server's certificate: {other}")),
        };
        let anchor = webpki::anchor_from_trusted_cert(pinned).map_err(bad)?;
        path(&[anchor], leaf, intermediates, now, KeyUsage::server_auth()).map_err(bad)?;
        if let Some(expected) = &self.expected {
            let id = spiffe::leaf_id(leaf).map_err(TlsFailure::Identity)?;
            if id != *expected {
                let what = format!("the server is {id}, not {expected}");
                return Err(TlsFailure::Identity(what));
            }
        }
        Ok(())
    }
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(leaf, intermediates, now)
            .map(|()| ServerCertVerified::assertion())
            .map_err(TlsFailure::into_rustls)
    }

    signatures!();
}
