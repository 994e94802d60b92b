//! Identity by join token, and its renewal.

use std::time::{Duration, SystemTime};

use mesh_core::{
    error::{ErrorKind, MeshError},
    name::ServiceName,
};
use mesh_tower::tls::{Credentials, Identity, TrustRoots};
use tonic::Code;

use super::{backoff::Backoff, disk::Disk, settings::bad};
use crate::{
    channel::{Channel, ControlAddr, code},
    pb::{
        control::{SignRequest, identity_client::IdentityClient},
        policy::TrustBundle,
    },
    wire,
};

/// An answer that takes longer is none.
const SIGN_TIMEOUT: Duration = Duration::from_secs(5);

/// Renewed at this part of the certificate's life: three days of trouble are left of ten, or 7 h of 24.
const RENEW_AT: f64 = 0.7;

/// A join token: what lets in, and who is believed.
#[derive(Clone)]
pub(super) struct Token {
    text: String,
    authority_sha256: [u8; 32],
}

impl std::str::FromStr for Token {
    type Err = MeshError;

    fn from_str(text: &str) -> Result<Self, MeshError> {
        let text = text.trim();
        let refused = |what: &str| {
            MeshError::new(ErrorKind::Identity, format!("join token refused: {what}"))
                .with_code(code(4005))
        };
        let mut parts = text.split('.');
        let (Some("mesh1"), Some(_), Some(hash), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(refused("it is not of the form mesh1.SECRET.HASH"));
        };
        let authority_sha256 =
            unhex(hash).ok_or_else(|| refused("its hash is not 64 hex digits"))?;
        Ok(Self {
            text: text.to_owned(),
            authority_sha256,
        })
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (ix, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * ix..2 * ix + 2], 16).ok()?;
    }
    Some(bytes)
}

/// Gets and keeps the identity of one member in force.
pub(super) struct Joiner {
    pub(super) service: ServiceName,
    pub(super) control: ControlAddr,
    pub(super) token: Token,
    pub(super) credentials: Credentials,
    pub(super) disk: Option<Disk>,
}

impl Joiner {
    /// Puts the identity of an earlier run into force, if it is still valid and of this service.
    pub(super) fn restore(&self, trust: Option<&TrustBundle>) -> bool {
        let (Some(disk), Some(trust)) = (&self.disk, trust) else {
            return false;
        };
        let Some(pem) = disk.identity() else {
            return false;
        };
        let identity = Identity::from_pem(&pem, &pem);
        let usable = identity.ok().filter(|identity| {
            identity.not_after() > SystemTime::now()
                && identity
                    .spiffe_id()
                    .service()
                    .is_some_and(|service| service == self.service)
        });
        let (Some(identity), Ok(roots)) = (usable, trust_roots(trust.clone())) else {
            return false;
        };
        self.credentials.set_trust(roots);
        self.credentials.set_identity(identity);
        true
    }

    /// Asks once, with the token if there is no valid identity. The private key is made here and stays here.
    pub(super) async fn sign(&self) -> Result<TrustBundle, MeshError> {
        let valid = self
            .credentials
            .identity()
            .is_some_and(|identity| identity.not_after() > SystemTime::now());
        let (channel, token) = if valid {
            (
                Channel::new(self.control.clone(), &self.credentials),
                String::new(),
            )
        } else {
            (
                Channel::pinned(self.control.clone(), self.token.authority_sha256),
                self.token.text.clone(),
            )
        };
        // First, so that an unreachable or false server is named as such and never sees the token.
        tokio::time::timeout(SIGN_TIMEOUT, channel.connect())
            .await
            .map_err(|_| slow())??;
        let unmade = |error: rcgen::Error| {
            MeshError::new(
                ErrorKind::Internal,
                "a certificate request could not be made",
            )
            .with_source(error)
        };
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(unmade)?;
        let csr = rcgen::CertificateParams::default()
            .serialize_request(&key)
            .map_err(unmade)?;
        let request = SignRequest {
            token,
            csr_der: csr.der().to_vec(),
            service: self.service.to_string(),
        };
        let mut client = IdentityClient::new(channel);
        let answer = tokio::time::timeout(SIGN_TIMEOUT, client.sign(request))
            .await
            .map_err(|_| slow())?;
        let response = answer.map_err(|status| refused(&status))?.into_inner();

        let trust = response
            .trust
            .ok_or_else(|| bad("the control server names nobody to trust"))?;
        let roots = trust_roots(trust.clone())?;
        let identity = Identity::from_der(response.chain_der.clone(), key.serialize_der())?;
        if identity
            .spiffe_id()
            .service()
            .is_none_or(|service| service != self.service)
        {
            let what = format!(
                "the control server made this {}, not {}",
                identity.spiffe_id(),
                self.service
            );
            return Err(MeshError::new(ErrorKind::Identity, what));
        }
        if let Some(disk) = &self.disk {
            let mut pem = key.serialize_pem();
            for certificate in &response.chain_der {
                pem.push_str(&pem_of(certificate));
            }
            if let Err(error) = disk.save_identity(&pem) {
                tracing::warn!(target: "mesh::join", "the identity is not kept on disk: {error}");
            }
        }
        self.credentials.set_trust(roots);
        self.credentials.set_identity(identity);
        Ok(trust)
    }

    /// Renews for ever. After a failure it tries again: soon while joining by token is still due, else with the
    /// backoff's longest waits.
    pub(super) async fn renew(self) {
        let mut backoff = Backoff::default();
        loop {
            let identity = self.credentials.identity();
            let wait = identity.map_or(Duration::ZERO, |identity| {
                until_renewal(
                    identity.not_before(),
                    identity.not_after(),
                    SystemTime::now(),
                )
            });
            tokio::time::sleep(wait).await;
            match self.sign().await {
                Ok(_) => {
                    backoff.reset();
                    tracing::info!(target: "mesh::join", service = %self.service, "identity renewed");
                }
                Err(error) => {
                    tracing::warn!(target: "mesh::join", service = %self.service, "identity not renewed: {error}");
                    backoff.wait().await;
                }
            }
        }
    }
}

/// Time until 70 % of the life have passed, less up to a tenth of that, so that what was started together does not
/// renew together.
fn until_renewal(from: SystemTime, to: SystemTime, now: SystemTime) -> Duration {
    let life = to.duration_since(from).unwrap_or_default();
    let part = RENEW_AT * fastrand::f64().mul_add(-0.1, 1.0);
    let due = from + life.mul_f64(part);
    due.duration_since(now).unwrap_or_default()
}

/// Trust anchors of a message.
pub(super) fn trust_roots(trust: TrustBundle) -> Result<TrustRoots, MeshError> {
    let domains =
        wire::trust_domains(trust).map_err(|error| bad(format!("trust bundle: {error}")))?;
    TrustRoots::from_der(domains)
}

fn slow() -> MeshError {
    MeshError::new(
        ErrorKind::Connect,
        format!("no answer from the control server in {SIGN_TIMEOUT:?}"),
    )
    .with_code(code(1002))
}

/// What a refusal means. Only a refused token or request is final.
fn refused(status: &tonic::Status) -> MeshError {
    let (kind, number) = match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => (ErrorKind::Identity, 4005),
        Code::InvalidArgument => (ErrorKind::Identity, 4006),
        _ => (ErrorKind::Connect, 1002),
    };
    let code = code(number);
    let message = status.message();
    let message = message
        .strip_suffix(&format!("[{code}]"))
        .unwrap_or(message)
        .trim_end();
    MeshError::new(kind, message).with_code(code)
}

fn pem_of(der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    // RFC 7468: 64 characters a line, which are 48 bytes.
    for line in der.chunks(48) {
        for chunk in line.chunks(3) {
            let bits = chunk
                .iter()
                .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            for ix in 0..4 {
                let digit = (bits >> (18 - 6 * ix)) & 63;
                text.push(if ix > chunk.len() {
                    '='
                } else {
                    ALPHABET[digit as usize].into()
                });
            }
        }
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_three_parts_and_a_hash() {
        let hash = "0f".repeat(32);
        let token: Token = format!(" mesh1.secret.{hash}\n").parse().unwrap();
        assert_eq!(
            (token.authority_sha256, token.text),
            ([0x0f; 32], format!("mesh1.secret.{hash}"))
        );
        for text in [
            "",
            "mesh1.secret",
            "mesh2.secret.00",
            "mesh1.secret.zz",
            &format!("mesh1.a.{hash}.b"),
        ] {
            let error = text.parse::<Token>().err().expect("an error");
            assert_eq!(error.code().to_string(), "M4005", "{text}");
            assert!(!error.to_string().contains("secret."), "{error}");
        }
    }

    #[test]
    fn renewal_is_due_at_seventy_percent_or_a_little_earlier() {
        let from = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let to = from + Duration::from_secs(1_000);
        for _ in 0..100 {
            let wait = until_renewal(from, to, from).as_secs();
            assert!((630..=700).contains(&wait), "{wait}");
        }
        assert_eq!(until_renewal(from, to, to), Duration::ZERO);
        assert_eq!(
            until_renewal(to, from, to),
            Duration::ZERO,
            "nonsense is due at once"
        );
    }

    #[test]
    fn pem_is_what_a_pem_reader_reads() {
        use rustls_pki_types::{CertificateDer, pem::PemObject as _};
        for length in [1, 2, 3, 47, 48, 49, 100] {
            let der: Vec<u8> = (0..length).map(|ix| (ix * 7) as u8).collect();
            let read = CertificateDer::from_pem_slice(pem_of(&der).as_bytes()).unwrap();
            assert_eq!(*read, *der);
        }
    }
}
