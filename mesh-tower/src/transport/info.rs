use std::net::SocketAddr;

use http::Response;
use mesh_core::identity::SpiffeId;

use crate::body::MeshBody;

/// What is known of the connection under a request (server: in its extensions) or a response
/// (client: [`ConnInfo::of`]).
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

// === impl ConnInfo ===

impl ConnInfo {
    /// The connection that a response came from. Its body knows; a response without one, or one
    /// that has passed a user's layer, has it in its extensions.
    pub fn of(response: &Response<MeshBody>) -> Option<&Self> {
        response
            .body()
            .conn_info()
            .or_else(|| response.extensions().get())
    }

    /// Puts it where it survives a layer that replaces the body.
    pub(crate) fn expose(response: &mut Response<MeshBody>) {
        if let Some(info) = response.body().conn_info().cloned() {
            response.extensions_mut().insert(info);
        }
    }
}
