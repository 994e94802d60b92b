use std::net::SocketAddr;

use mesh_core::identity::SpiffeId;

/// What is known of the connection under a request (server) or a response (client): in their
/// extensions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnInfo {
    /// Who the peer proved to be; `None` without mutual TLS.
    pub peer: Option<SpiffeId>,
    /// This end.
    pub local: Option<SocketAddr>,
    /// The peer's end.
    pub remote: Option<SocketAddr>,
    /// Whether the bytes are encrypted.
    pub tls: bool,
}
