//! The two SPIFFE verifiers.

use std::sync::Arc;

use mesh_core::identity::SpiffeId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::server::Certificate;
use super::{TlsFailure, TrustRoots, provider, spiffe};

/// Whether `leaf` is an identity that `trust` vouches for at `now`.
fn check(
    trust: &TrustRoots,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    now: UnixTime,
    usage: KeyUsage,
) -> Result<SpiffeId, TlsFailure> {
    let id = spiffe::leaf_id(leaf).map_err(|what| {
        TlsFailure::Identity(format!("the peer's certificate is refused: {what}"))
    })?;
    let anchors = trust.anchors(id.trust_domain());
    if anchors.is_empty() {
        return Err(TlsFailure::Identity(format!(
            "the peer is {id}, and trust domain {} is not trusted",
            id.trust_domain()
        )));
    }
    path(anchors, leaf, intermediates, now, usage).map_err(|error| match error {
        webpki::Error::CertExpired { .. } => {
            TlsFailure::Expired(format!("the certificate of {id} has expired"))
        }
        webpki::Error::CertNotValidYet { .. } => {
            TlsFailure::Expired(format!("the certificate of {id} is not valid yet"))
        }
        webpki::Error::UnknownIssuer => TlsFailure::Identity(format!(
            "the peer says it is {id}, but no authority of {} vouches for it",
            id.trust_domain()
        )),
        other => TlsFailure::Identity(format!("the certificate of {id} is refused: {other}")),
    })?;
    Ok(id)
}

/// A path by RFC 5280 from the leaf to one of the anchors.
pub(super) fn path(
    anchors: &[TrustAnchor<'_>],
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    now: UnixTime,
    usage: KeyUsage,
) -> Result<(), webpki::Error> {
    let algorithms = provider().signature_verification_algorithms.all;
    EndEntityCert::try_from(leaf)?
        .verify_for_usage(algorithms, anchors, intermediates, now, usage, None, None)
        .map(|_| ())
}

/// The client's view of a server: of the expected identity, or of any trusted one.
#[derive(Debug)]
pub(super) struct SpiffeServers {
    pub(super) trust: Arc<TrustRoots>,
    pub(super) expected: Option<SpiffeId>,
}

/// The server's view of a client.
#[derive(Debug)]
pub(super) struct SpiffeClients {
    pub(super) trust: Arc<TrustRoots>,
    pub(super) certificate: Certificate,
}

/// The handshake's signatures: the same for every verifier here.
macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = &provider().signature_verification_algorithms;
            verify_tls12_signature(message, cert, dss, algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = &provider().signature_verification_algorithms;
            verify_tls13_signature(message, cert, dss, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    };
}
pub(super) use signatures;

// === impl SpiffeServers ===

impl ServerCertVerifier for SpiffeServers {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        // A SPIFFE identity takes the place of the host's name.
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let id = check(
            &self.trust,
            leaf,
            intermediates,
            now,
            KeyUsage::server_auth(),
        )
        .map_err(TlsFailure::into_rustls)?;
        match &self.expected {
            Some(expected) if *expected != id => {
                let what = format!("the peer is {id}, not {expected}");
                Err(TlsFailure::Identity(what).into_rustls())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    signatures!();
}

// === impl SpiffeClients ===

impl ClientCertVerifier for SpiffeClients {
    fn client_auth_mandatory(&self) -> bool {
        self.certificate == Certificate::Required
    }

    /// No hints: clients have one identity, and the list would tell strangers whom we trust.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        check(
            &self.trust,
            leaf,
            intermediates,
            now,
            KeyUsage::client_auth(),
        )
        .map(|_| ClientCertVerified::assertion())
        .map_err(TlsFailure::into_rustls)
    }

    signatures!();
}
