//! A certificate with its key, checked, and what a handshake with it needs.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use mesh_core::policy::model::TlsVersion;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::names::Names;
use crate::tls::server::versions;
use crate::tls::{TlsFailure, provider, spiffe};

/// A pair that may be shown to clients.
pub(crate) struct Served {
    key: Arc<CertifiedKey>,
    names: Names,
    not_after: SystemTime,
    /// By the oldest version of TLS that is accepted; made in the first handshake.
    configs: [OnceLock<Result<Arc<ServerConfig>, TlsFailure>>; 2],
}

/// Why a pair is not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// For as long as the files are what they are.
    Broken(String),
    /// Until its time has come.
    Early(String),
}

// === impl Served ===

impl Served {
    /// Reads a pair. `cert` and `key` say where it is from.
    pub(super) fn read(
        cert: (&Path, &[u8]),
        key: (&Path, &[u8]),
        now: SystemTime,
    ) -> Result<Self, Fault> {
        let at = |path: &Path, what: &str| Fault::Broken(format!("{}: {what}", path.display()));
        let chain: Vec<_> = CertificateDer::pem_slice_iter(cert.1)
            .collect::<Result<_, _>>()
            .map_err(|_| at(cert.0, "it is not PEM"))?;
        let leaf = chain
            .first()
            .ok_or_else(|| at(cert.0, "there is no certificate in it"))?;
        let names = Names::of(leaf).map_err(|what| at(cert.0, &what))?;
        let validity = spiffe::validity(leaf).ok_or_else(|| at(cert.0, "it cannot be read"))?;
        let (not_before, not_after) = (time(validity.0), time(validity.1));
        if not_after <= now {
            return Err(at(
                cert.0,
                &format!("it expired {} ago", ago(not_after, now)),
            ));
        }
        let secret = PrivateKeyDer::from_pem_slice(key.1)
            .map_err(|_| at(key.0, "there is no private key as PEM in it"))?;
        let pair =
            CertifiedKey::from_der(chain, secret, &provider()).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    at(key.0, &format!("it is not the key of {}", cert.0.display()))
                }
                error => at(key.0, &format!("it cannot be used: {error}")),
            })?;
        if not_before > now {
            let what = format!("it is valid in {} only", ago(now, not_before));
            return Err(Fault::Early(format!("{}: {what}", cert.0.display())));
        }
        Ok(Self {
            key: Arc::new(pair),
            names,
            not_after,
            configs: Default::default(),
        })
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The leaf, as DER.
    #[cfg(test)]
    pub(super) fn leaf(&self) -> &[u8] {
        self.key.cert.first().map_or(&[], |leaf| leaf.as_ref())
    }

    /// How to take a client through the handshake.
    pub(crate) fn config(&self, least: TlsVersion) -> Result<Arc<ServerConfig>, TlsFailure> {
        let at = match least {
            TlsVersion::Tls12 => 0,
            TlsVersion::Tls13 => 1,
        };
        self.configs[at]
            .get_or_init(|| self.build(least).map(Arc::new))
            .clone()
    }

    fn build(&self, least: TlsVersion) -> Result<ServerConfig, TlsFailure> {
        let failed = |error: rustls::Error| TlsFailure::Handshake(error.to_string());
        let resolver = Arc::new(SingleCertAndKey::from(self.key.clone()));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(least))
            .map_err(failed)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Sessions are resumed here, unlike in the mesh: nobody has an identity that could be old,
        // and browsers come back. A ticket is of this certificate and this process only.
        config.ticketer = Ticketer::new().map_err(failed)?;
        Ok(config)
    }
}

impl fmt::Debug for Served {
    /// Never the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served")
            .field("names", &self.names)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

// === impl Fault ===

impl Fault {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Broken(text) | Self::Early(text) => text,
        }
    }
}

/// From seconds since 1970.
fn time(unix: i64) -> SystemTime {
    let seconds = Duration::from_secs(u64::try_from(unix).unwrap_or(0));
    SystemTime::UNIX_EPOCH
        .checked_add(seconds)
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// In the largest unit that says something.
fn ago(from: SystemTime, to: SystemTime) -> String {
    let seconds = to.duration_since(from).unwrap_or_default().as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
