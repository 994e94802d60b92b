use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use mesh_core::error::{Code, ErrorKind, MeshError};
use rustls::{AlertDescription, CertificateError, OtherError};

/// Why a handshake failed, in the categories that an operator acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsFailure {
    /// M4002: not TLS, no common version or protocol, broken off, too slow.
    Handshake(String),
    /// M4003: a certificate that proves no acceptable identity, or none at all.
    Identity(String),
    /// M4004: a certificate whose time is over or has not come.
    Expired(String),
}

// === impl TlsFailure ===

impl TlsFailure {
    /// The code of this failure.
    pub fn code(&self) -> Code {
        match self {
            Self::Handshake(_) => Code::TLS,
            Self::Identity(_) => Code::IDENTITY,
            Self::Expired(_) => Code::CERTIFICATE_TIME,
        }
    }

    /// What a verifier hands to rustls: the alert to the peer follows from it, and the failure is
    /// found again in [`TlsFailure::find`].
    pub(crate) fn into_rustls(self) -> rustls::Error {
        rustls::Error::InvalidCertificate(match self {
            // Has an alert of its own, so the peer can tell.
            Self::Expired(_) => CertificateError::Expired,
            other => CertificateError::Other(OtherError(Arc::new(other))),
        })
    }

    fn of_rustls(error: &rustls::Error) -> Self {
        use rustls::Error as E;
        match error {
            E::InvalidCertificate(certificate) => Self::of_certificate(certificate),
            E::NoCertificatesPresented => {
                Self::Identity("the peer showed no certificate".to_owned())
            }
            E::AlertReceived(alert) => match alert {
                AlertDescription::CertificateExpired => {
                    Self::Expired("the peer says that our certificate has expired".to_owned())
                }
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied => {
                    Self::Identity("the peer refused our certificate".to_owned())
                }
                AlertDescription::CertificateRequired => {
                    Self::Identity("the peer demands a certificate and got none".to_owned())
                }
                other => Self::Handshake(format!("the peer broke off the handshake: {other:?}")),
            },
            E::InvalidMessage(_) => Self::Handshake("the peer does not speak TLS".to_owned()),
            other => Self::Handshake(other.to_string()),
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Self::Expired("the peer's certificate has expired".to_owned())
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::Expired("the peer's certificate is not valid yet".to_owned())
            }
            CertificateError::Other(OtherError(source)) => match source.downcast_ref::<Self>() {
                Some(failure) => failure.clone(),
                None => Self::Identity(format!("the peer's certificate is refused: {source}")),
            },
            CertificateError::UnknownIssuer => {
                Self::Identity("the peer's certificate is of an unknown authority".to_owned())
            }
            other => Self::Identity(format!("the peer's certificate is refused: {other}")),
        }
    }

    /// The TLS failure anywhere below an error, such as hyper's: with TLS 1.3 a server's refusal of
    /// our certificate arrives after our handshake is complete, as an error of the first read.
    pub(crate) fn find(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(failure) = error.downcast_ref::<Self>() {
                return Some(failure.clone());
            }
            if let Some(error) = error.downcast_ref::<rustls::Error>() {
                return Some(Self::of_rustls(error));
            }
            // io::Error hides what it wraps from `source`: that is its own source's source.
            if let Some(inner) = error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref)
            {
                next = Some(inner);
                continue;
            }
            next = error.source();
        }
        None
    }

    /// What a handshake's I/O error means.
    pub(crate) fn of_io(error: &io::Error) -> Self {
        Self::find(error).unwrap_or_else(|| {
            Self::Handshake(match error.kind() {
                io::ErrorKind::UnexpectedEof => "the peer closed during the handshake".to_owned(),
                _ => error.to_string(),
            })
        })
    }

    /// As an error of the mesh.
    pub fn into_error(self, context: impl fmt::Display) -> MeshError {
        let kind = match self {
            Self::Identity(_) => ErrorKind::Identity,
            Self::Handshake(_) | Self::Expired(_) => ErrorKind::Tls,
        };
        MeshError::new(kind, format!("{context}: {self}"))
            .with_code(self.code())
            .with_source(self)
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake(what) | Self::Identity(what) | Self::Expired(what) => f.write_str(what),
        }
    }
}

impl StdError for TlsFailure {}
