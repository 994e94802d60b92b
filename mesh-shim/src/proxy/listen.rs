//! Opens listeners.

use std::io;
use std::net::SocketAddr;

use mesh_tower::transport::{AcceptOptions, listen};

/// Whether a port may be opened more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    No,
    /// `SO_REUSEPORT`: each worker accepts by itself.
    Workers,
}

/// Opens one listener.
pub(crate) fn bind(addr: SocketAddr, share: Share) -> io::Result<std::net::TcpListener> {
    let options = AcceptOptions {
        reuse_port: share == Share::Workers,
        ..AcceptOptions::default()
    };
    listen(addr, options)
}
