//! A connection that is no HTTP: made as the others are, under the same limits, and never pooled.

use super::room::Place;
use super::stats::Counted;
use super::{EndpointPool, Raw};
use crate::tls::{Alpn, LateFailure};
use crate::transport::{BoxIo, ConnInfo};
use mesh_core::error::MeshError;

/// A connection for bytes, with its places below the limits.
pub(crate) struct Bytes {
    pub(crate) io: BoxIo,
    pub(crate) info: ConnInfo,
    /// What becomes of TLS after the handshake; `None` for plaintext.
    pub(crate) late: Option<LateFailure>,
    pub(crate) kept: Kept,
}

/// Counts while it is kept.
pub(crate) struct Kept {
    _place: Place,
    _counted: Counted,
}

impl EndpointPool {
    /// Makes a connection of one's own. `through`: what will be sent is TLS already, of which a
    /// server outside the mesh needs no second one.
    pub(crate) async fn bytes(&self, through: bool) -> Result<Bytes, MeshError> {
        let Raw {
            io,
            info,
            place,
            late,
            ..
        } = self
            .0
            .connect(if through { Alpn::Through } else { Alpn::Bytes })
            .await?;
        Ok(Bytes {
            io,
            info,
            late,
            kept: Kept {
                _place: place,
                _counted: self.0.stats.opened(),
            },
        })
    }
}
