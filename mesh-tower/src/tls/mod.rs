//! Mutual TLS with SPIFFE identities, and plain TLS to the outside.
//!
//! rustls checks signatures and paths but knows nothing of SPIFFE, so both verifiers here add the
//! rules of the X.509-SVID document: exactly one URI name, no CA bit, no keyCertSign, and a path to
//! the bundle of *the leaf's own* trust domain. An expected identity is
//! compared as a whole, never by prefix.
//!
//! [`Credentials`] can be swapped at any time. Handshakes that begin afterwards use the new ones;
//! live connections stay as they are.
//!
//! Sessions are not resumed, on either side: a resumed handshake shows no certificate, so the
//! identity would be as old as the ticket, beyond the certificate's life and a withdrawn root.
//! Connections here are pooled and long-lived, so the handshakes saved would be few.
//!
//! The crypto provider (aws-lc-rs) is passed explicitly; the process-wide default is left alone,
//! since it belongs to the application.

mod certificates;
mod client;
mod credentials;
mod failure;
mod material;
mod pin;
mod provider;
mod reload;
mod roots;
mod server;
mod spiffe;
mod verify;
mod watched;

pub use self::certificates::{CertificateState, Certificates};
pub use self::client::{Alpn, ClientTls, Connected, Expect};
pub use self::credentials::Credentials;
pub use self::failure::TlsFailure;
pub use self::material::Identity;
pub use self::provider::{provider, sha256};
pub use self::reload::reload_directory;
pub use self::roots::TrustRoots;
pub use self::server::{Accepted, ServerTls};

pub(crate) use self::certificates::{Found, Served, hello};
pub(crate) use self::watched::LateFailure;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

/// The application protocol of bytes (raw TCP) between two peers of the mesh. A name of its own, so
/// that an HTTP port never takes bytes for requests, or the reverse: such a handshake fails.
pub(crate) const BYTES: &[u8] = b"mesh-tcp/1";

/// A silent or slow peer must not hold a socket for longer than this.
const HANDSHAKE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
