//! A scratch directory with the identities that all subjects share.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};

/// The caller's identity.
pub const CLIENT: &str = "spiffe://mesh.local/ns/bench/sa/web";
/// The callee's identity.
pub const SERVER: &str = "spiffe://mesh.local/ns/bench/sa/answers";

/// A directory that is gone when dropped, with the identities `client` and `server` in it.
///
/// Each has `cert.pem`, `key.pem`, `roots.pem` and `both.pem`, certificate and key in one.
#[derive(Debug)]
pub struct Files(PathBuf);

// === impl Files ===

impl Files {
    /// Makes the directory and the identities.
    ///
    /// # Errors
    ///
    /// When the disk or the certificate library refuses.
    pub fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("mesh-peers-{}", std::process::id()));
        let files = Self(path);
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        // OpenSSL takes a certificate whose subject is its issuer's for a self-signed one.
        params.distinguished_name.push(DnType::CommonName, "peers");
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let roots = params.self_signed(&key).map_err(io::Error::other)?.pem();
        let issuer = Issuer::new(params, key);
        for (name, id) in [("client", CLIENT), ("server", SERVER)] {
            let key = KeyPair::generate().map_err(io::Error::other)?;
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.subject_alt_names = vec![SanType::URI(id.try_into().map_err(io::Error::other)?)];
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.is_ca = IsCa::ExplicitNoCa;
            let cert = params
                .signed_by(&key, &issuer)
                .map_err(io::Error::other)?
                .pem();
            let key = key.serialize_pem();
            files.write(&format!("{name}/cert.pem"), &cert)?;
            files.write(&format!("{name}/key.pem"), &key)?;
            files.write(&format!("{name}/roots.pem"), &roots)?;
            files.write(&format!("{name}/both.pem"), &format!("{cert}{key}"))?;
        }
        Ok(files)
    }

    /// The path of `name`.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes `name` and gives its path.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        fs::write(&path, text)?;
        Ok(path)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
