//! CONNECT: bytes both ways, opaque, and counted.
//!
//! The mesh sees no requests in a tunnel, so it can neither retry nor protect them. A host that the
//! policy knows is reached by the engine all the same: its endpoints, balancing, ejection, limits.
//! Any other is let out and reported by its name, or refused, as `--egress` says.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::uri::Authority;
use mesh_core::error::{Code, ErrorKind, MeshError};
use mesh_tower::Mesh;
use mesh_tower::tcp::TcpConnection;
use mesh_tower::transport::{BoxIo, abort, both_ways};

use crate::config::Egress;
use crate::join::APPLICATION;

/// Name resolution and connection together.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Names that are told apart; the others are counted together.
const NAMES: usize = 100;

/// Counts of this process, and what it lets out.
#[derive(Debug, Default)]
pub(crate) struct Tunnels {
    egress: Egress,
    opened: AtomicU64,
    refused: AtomicU64,
    /// Hosts that the policy does not know.
    unknown: Mutex<BTreeMap<String, u64>>,
}

/// The other end of a tunnel.
pub(crate) enum Way {
    /// A service of the policy.
    Mesh(Box<TcpConnection>),
    /// Around the mesh.
    Outside(BoxIo),
}

/// Why there is no tunnel.
#[derive(Debug)]
pub(crate) enum NoTunnel {
    /// The policy's service could not be reached, or the host is not let out.
    Mesh(MeshError),
    Io(io::Error),
}

// === impl Tunnels ===

impl Tunnels {
    pub(crate) fn new(egress: Egress) -> Self {
        Self {
            egress,
            ..Self::default()
        }
    }

    /// As Prometheus text, to follow the mesh's own metrics. `of` is the application where there are
    /// several.
    pub(crate) fn metrics(&self, of: Option<&str>) -> String {
        let [opened, refused] = [&self.opened, &self.refused].map(|n| n.load(Ordering::Relaxed));
        let whose = of.map_or(String::new(), |name| format!("{APPLICATION}=\"{name}\","));
        let mut text = format!(
            "# HELP mesh_shim_tunnels_total CONNECT tunnels through the forward proxy, opaque to the mesh.\n\
             # TYPE mesh_shim_tunnels_total counter\n\
             mesh_shim_tunnels_total{{{whose}result=\"opened\"}} {opened}\n\
             mesh_shim_tunnels_total{{{whose}result=\"refused\"}} {refused}\n\
             # HELP mesh_shim_egress_total Times that a host was asked for which the policy does not know.\n\
             # TYPE mesh_shim_egress_total counter\n"
        );
        for (host, count) in self.names().iter() {
            let _ = writeln!(
                text,
                "mesh_shim_egress_total{{{whose}host=\"{host}\"}} {count}"
            );
        }
        text
    }

    fn names(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, u64>> {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports a host that the policy does not know; an error if it is not let out.
    pub(crate) fn unknown(&self, host: &str) -> Result<(), MeshError> {
        // An authority has no quotes or line ends; its length is the client's choice.
        let host: String = host.chars().take(100).collect();
        let mut names = self.names();
        let known = names.contains_key(&host);
        let name = match known || names.len() < NAMES {
            true => host.as_str(),
            false => "(others)",
        };
        *names.entry(name.to_owned()).or_default() += 1;
        drop(names);
        let denied = self.egress == Egress::Deny;
        if !known {
            tracing::info!(
                host,
                denied,
                "asked for a host that the policy does not know [M4007]"
            );
        }
        match denied {
            false => Ok(()),
            true => Err(MeshError::new(
                ErrorKind::Denied,
                format!("{host} is not in the policy, and --egress is deny"),
            )
            .with_code(Code::EGRESS_DENIED)),
        }
    }

    /// Connects to where the tunnel goes. CONNECT names host and port, both (RFC 9110 9.3.6).
    pub(crate) async fn open(
        &self,
        mesh: &Mesh,
        target: Option<&Authority>,
    ) -> Result<Way, NoTunnel> {
        let connected = self.connect(mesh, target).await;
        let count = if connected.is_ok() {
            &self.opened
        } else {
            &self.refused
        };
        count.fetch_add(1, Ordering::Relaxed);
        connected
    }

    async fn connect(&self, mesh: &Mesh, target: Option<&Authority>) -> Result<Way, NoTunnel> {
        let invalid = |what| NoTunnel::Io(io::Error::new(io::ErrorKind::InvalidInput, what));
        let target = target.ok_or_else(|| invalid("CONNECT needs host:port"))?;
        let port = target
            .port_u16()
            .ok_or_else(|| invalid("CONNECT needs a port"))?;
        let host = target.host().trim_start_matches('[').trim_end_matches(']');
        if let Some(found) = mesh.find_host(host, Some(port)) {
            let mut client = mesh.pass_through(&found.target());
            return client
                .connect()
                .await
                .map(|connection| Way::Mesh(Box::new(connection)))
                .map_err(NoTunnel::Mesh);
        }
        self.unknown(host).map_err(NoTunnel::Mesh)?;
        let connecting = connect(mesh, host, port);
        match tokio::time::timeout(CONNECT_WITHIN, connecting).await {
            Ok(connected) => connected.map(Way::Outside).map_err(NoTunnel::Io),
            Err(_) => Err(NoTunnel::Io(io::Error::new(
                io::ErrorKind::TimedOut,
                "no connection within 5s",
            ))),
        }
    }
}

/// To the first address of the host that accepts, with the marks of the shim's own connections.
async fn connect(mesh: &Mesh, host: &str, port: u16) -> io::Result<BoxIo> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for addr in tokio::net::lookup_host((host, port)).await? {
        match mesh.connector().connect(addr).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Copies until both sides have ended; one side's end is passed on to the other (half-close).
/// What one side breaks off is broken off for the other too.
pub(crate) async fn copy(upgrade: impl Future<Output = io::Result<BoxIo>>, server: Way) {
    let mut client = match upgrade.await {
        Ok(client) => client,
        Err(error) => {
            tracing::debug!(%error, "a tunnel's client went away");
            return;
        }
    };
    match server {
        Way::Mesh(server) => {
            // The application, on this machine.
            let from = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let cut = std::future::pending();
            server.carry(client, from, cut).await;
        }
        Way::Outside(mut server) => {
            if let Err(error) = both_ways(&mut client, &mut server).await {
                tracing::debug!(%error, "a tunnel ended early");
                abort(client);
                abort(server);
            }
        }
    }
}
