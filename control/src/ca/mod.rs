//! The issuing CA: made at the first start, signs what workloads ask for.
//!
//! A leaf is written from what the server decided, never from what the request says: of a CSR only
//! the public key is taken, after its signature proves that the asker holds the private half. So a
//! request cannot bring a CA bit, a second name or a longer life.
//!
//! Leaves follow the X.509-SVID rules: exactly one URI SAN, not a CA, key usage critical with only
//! digitalSignature, both extended key usages.

mod csr;
mod token;

pub(crate) use csr::CsrError;
pub(crate) use token::JoinToken;

use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;

use crate::{Error, files};

/// How far back a certificate is dated, for clocks that are behind.
const BACKDATED: Duration = Duration::from_secs(60);
/// Life of the CA certificate: ten years. Replacing it means replacing the state directory.
const CA_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const CERTIFICATE_FILE: &str = "ca.crt";
const KEY_FILE: &str = "ca.key";

/// The CA of one trust domain.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate_der: CertificateDer<'static>,
    certificate_pem: String,
    fingerprint: String,
    trust_domain: String,
    leaf_ttl: Duration,
}

/// What a signed request gives back.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) chain_der: Vec<Vec<u8>>,
    pem: String,
    pub(crate) not_after: SystemTime,
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key stays out of logs.
        f.debug_struct("Ca")
            .field("trust_domain", &self.trust_domain)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

impl Ca {
    /// Loads the CA of the state directory, or makes one.
    pub(crate) fn open(
        state_dir: &Path,
        trust_domain: &str,
        leaf_ttl: Duration,
        now: SystemTime,
    ) -> Result<Self, Error> {
        let unusable = |file: &str| {
            Error::new(
                "M5003",
                format!(
                    "state directory: {} is unusable",
                    state_dir.join(file).display()
                ),
                "restore the file, or move the state directory away: workloads must then join again",
            )
        };
        let key_path = state_dir.join(KEY_FILE);
        let certificate_path = state_dir.join(CERTIFICATE_FILE);
        let key =
            files::read_secret(&key_path).map_err(|error| unusable(KEY_FILE).with_source(error))?;
        let certificate = files::read_secret(&certificate_path)
            .map_err(|error| unusable(CERTIFICATE_FILE).with_source(error))?;
        let (key, certificate_pem) = match (key, certificate) {
            (Some(key), Some(certificate)) => {
                let key = KeyPair::from_pem(&key)
                    .map_err(|error| unusable(KEY_FILE).with_source(error))?;
                (key, certificate)
            }
            // The certificate is written last: without it nobody can have pinned this key.
            (_, None) => {
                let (key, pem) =
                    create(trust_domain, now).map_err(|e| unusable(KEY_FILE).with_source(e))?;
                files::write_atomic(&key_path, key.serialize_pem().as_bytes())
                    .map_err(|error| unusable(KEY_FILE).with_source(error))?;
                files::write_atomic(&certificate_path, pem.as_bytes())
                    .map_err(|error| unusable(CERTIFICATE_FILE).with_source(error))?;
                (key, pem)
            }
            (None, Some(_)) => return Err(unusable(KEY_FILE)),
        };
        let certificate = pem_to_der(&certificate_pem).ok_or_else(|| unusable(CERTIFICATE_FILE))?;
        check_ca(&certificate, &key, trust_domain, now).map_err(|what| {
            Error::new(
                "M5003",
                format!("state directory: {}: {what}", certificate_path.display()),
                "give the trust domain this CA was made for, or a new --state-dir",
            )
        })?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|error| unusable(CERTIFICATE_FILE).with_source(error))?;
        let fingerprint = hex(digest::digest(&digest::SHA256, &certificate).as_ref());
        Ok(Self {
            issuer,
            certificate_der: certificate,
            certificate_pem,
            fingerprint,
            trust_domain: trust_domain.to_owned(),
            leaf_ttl,
        })
    }

    pub(crate) fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// Hex SHA-256 of the CA certificate's DER: what a join token pins.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(crate) fn certificate_der(&self) -> &[u8] {
        &self.certificate_der
    }

    pub(crate) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The id of a service in this trust domain.
    pub(crate) fn spiffe_id(&self, namespace: &str, name: &str) -> String {
        format!("spiffe://{}/ns/{namespace}/sa/{name}", self.trust_domain)
    }

    /// Signs a leaf for `spiffe_id`, for the key of `csr_der`.
    pub(crate) fn sign(
        &self,
        csr_der: &[u8],
        spiffe_id: &str,
        now: SystemTime,
    ) -> Result<Leaf, CsrError> {
        let key = csr::public_key(csr_der)?;
        self.leaf(&key, spiffe_id, now)
    }

    /// The control server's own identity: a fresh key, PEM chain and PEM key.
    pub(crate) fn own_identity(
        &self,
        spiffe_id: &str,
        now: SystemTime,
    ) -> Result<(String, String, SystemTime), CsrError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CsrError::signing)?;
        let leaf = self.leaf(&key, spiffe_id, now)?;
        // The CA certificate travels along in its own handshakes only: a joiner that has nothing but
        // the CA's hash needs to see it.
        let chain = format!("{}{}", leaf.pem, self.certificate_pem);
        Ok((chain, key.serialize_pem(), leaf.not_after))
    }

    fn leaf(
        &self,
        key: &impl rcgen::PublicKeyData,
        spiffe_id: &str,
        now: SystemTime,
    ) -> Result<Leaf, CsrError> {
        let not_after = now + self.leaf_ttl;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(
            spiffe_id.try_into().map_err(CsrError::signing)?,
        )];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        params.not_before = (now - BACKDATED).into();
        params.not_after = not_after.into();
        params.serial_number = Some(serial()?);
        let leaf = params
            .signed_by(key, &self.issuer)
            .map_err(CsrError::signing)?;
        Ok(Leaf {
            chain_der: vec![leaf.der().to_vec()],
            pem: leaf.pem(),
            not_after,
        })
    }
}

fn create(trust_domain: &str, now: SystemTime) -> Result<(KeyPair, String), rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("mesh CA of {trust_domain}"));
    // SPIFFE: a signing certificate's own id is the trust domain's, with no path.
    params.subject_alt_names = vec![SanType::URI(format!("spiffe://{trust_domain}").try_into()?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + CA_LIFE).into();
    params.serial_number = Some(serial().map_err(|_| rcgen::Error::RingUnspecified)?);
    let certificate = params.self_signed(&key)?;
    Ok((key, certificate.pem()))
}

/// 16 random octets, positive: RFC 5280 4.1.2.2.
fn serial() -> Result<SerialNumber, CsrError> {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| CsrError::signing("no randomness"))?;
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// A state directory of another trust domain, or a key that is not the certificate's, would sign
/// leaves that nobody accepts: better not to start.
fn check_ca(
    certificate: &CertificateDer<'_>,
    key: &KeyPair,
    trust_domain: &str,
    now: SystemTime,
) -> Result<(), String> {
    use x509_parser::extensions::GeneralName;
    let (_, x509) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| "is not a certificate".to_owned())?;
    let own = format!("spiffe://{trust_domain}");
    let san = x509.subject_alternative_name().ok().flatten();
    let id = san
        .as_ref()
        .and_then(|san| match san.value.general_names.as_slice() {
            [GeneralName::URI(uri)] => Some(*uri),
            _ => None,
        });
    if id != Some(own.as_str()) {
        return Err(format!(
            "was made for {}, not {own}",
            id.unwrap_or("no trust domain")
        ));
    }
    use rcgen::PublicKeyData;
    if x509.public_key().raw != key.subject_public_key_info() {
        return Err(format!("does not belong to the key in {KEY_FILE}"));
    }
    let not_after = x509.validity().not_after.timestamp();
    let now = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    if not_after < i64::try_from(now).unwrap_or(i64::MAX) {
        return Err("has expired".to_owned());
    }
    Ok(())
}

fn pem_to_der(pem: &str) -> Option<CertificateDer<'static>> {
    use rustls_pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(pem.as_bytes()).ok()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests;
