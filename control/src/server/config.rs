//! [`Config`]: where the control server keeps its state and what it listens on.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// What a control server needs to know before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Directory of everything that survives a restart: CA, join token, applied policy, leases.
    /// Created with mode 0700 when it is missing.
    pub state_dir: PathBuf,
    /// Address of the gRPC port that workloads join and subscribe on (mutual TLS). Default
    /// `0.0.0.0:7443`; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Address of the page, its JSON API, health and metrics (plain HTTP). Default
    /// `127.0.0.1:7480`; it is read-only, but shows every service, so it stays on loopback.
    pub page: SocketAddr,
    /// Directory of policy files (`*.yaml`, `*.yml`), read every second. `None`: only what
    /// `meshctl policy apply` brings.
    pub policy_dir: Option<PathBuf>,
    /// Trust domain of every identity that this CA issues. Default `mesh.local`.
    pub trust_domain: String,
    /// Namespace of names that do not say theirs. Default `default`.
    pub default_namespace: String,
    /// Life of an issued leaf certificate. Default 24 h; at least 10 s.
    pub leaf_ttl: Duration,
    /// Path of the admin socket (mode 0600). Default `<state_dir>/admin.sock`; at most 107 bytes,
    /// the limit of a Unix socket's address.
    pub admin_socket: Option<PathBuf>,
}

impl Config {
    /// The default configuration over one state directory.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 7443)),
            page: SocketAddr::from((Ipv4Addr::LOCALHOST, 7480)),
            policy_dir: None,
            trust_domain: "mesh.local".to_owned(),
            default_namespace: "default".to_owned(),
            leaf_ttl: Duration::from_secs(24 * 3600),
            admin_socket: None,
        }
    }

    /// Where the admin socket is: [`Config::admin_socket`] or its default.
    pub fn admin_socket_path(&self) -> PathBuf {
        self.admin_socket
            .clone()
            .unwrap_or_else(|| self.state_dir.join("admin.sock"))
    }

    /// Where the join token is written.
    pub fn token_path(&self) -> PathBuf {
        self.state_dir.join("join-token")
    }
}
