//! The control server: [`Server::start`] binds its three listeners and gives a [`Running`].

mod config;

pub use config::Config;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::Error;

/// Starts control servers.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Opens the state directory, binds the gRPC port, the page and the admin socket, and serves
    /// them until [`Running::shutdown`].
    ///
    /// # Errors
    ///
    /// `M5003` when the state directory is unusable or held by another server, `M1004` when a port
    /// is in use, `M1003` for a value that cannot be.
    pub async fn start(config: Config) -> Result<Running, Error> {
        Err(Error::new("M2099", format!("{config:?}"), ""))
    }
}

/// A control server that is serving. Dropping it stops its tasks at once; [`Running::shutdown`]
/// stops them in order.
#[derive(Debug)]
pub struct Running {
    /// The bound address of the gRPC port.
    pub grpc_addr: SocketAddr,
    /// The bound address of the page, health and metrics.
    pub page_addr: SocketAddr,
    token: String,
    token_path: PathBuf,
    admin_socket: PathBuf,
}

impl Running {
    /// The join token: `mesh1.<secret>.<sha256 of the CA certificate>`.
    pub fn join_token(&self) -> &str {
        &self.token
    }

    /// The file (mode 0600) that holds the join token.
    pub fn token_path(&self) -> &Path {
        &self.token_path
    }

    /// The admin socket that `meshctl` speaks to.
    pub fn admin_socket(&self) -> &Path {
        &self.admin_socket
    }

    /// Stops accepting, lets calls in flight end, writes leases to disk and returns.
    pub async fn shutdown(self) {}
}
