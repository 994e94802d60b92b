//! CONNECT: bytes both ways, opaque, and counted.
//!
//! The mesh sees no requests in a tunnel, so it can neither balance nor retry nor protect them:
//! each one is counted, since each one is traffic that goes around the mesh.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::uri::Authority;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Name resolution and connection together.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Counts of this process.
#[derive(Debug, Default)]
pub(crate) struct Tunnels {
    opened: AtomicU64,
    refused: AtomicU64,
}

impl Tunnels {
    /// As Prometheus text, to follow the mesh's own metrics.
    pub(crate) fn metrics(&self) -> String {
        let [opened, refused] = [&self.opened, &self.refused].map(|n| n.load(Ordering::Relaxed));
        format!(
            "# HELP mesh_shim_tunnels_total CONNECT tunnels through the forward proxy, opaque to the mesh.\n\
             # TYPE mesh_shim_tunnels_total counter\n\
             mesh_shim_tunnels_total{{result=\"opened\"}} {opened}\n\
             mesh_shim_tunnels_total{{result=\"refused\"}} {refused}\n"
        )
    }

    /// Connects to where the tunnel goes. CONNECT names host and port, both (RFC 9110 9.3.6).
    pub(crate) async fn open(&self, target: Option<&Authority>) -> io::Result<TcpStream> {
        let connected = connect(target).await;
        let count = if connected.is_ok() {
            &self.opened
        } else {
            &self.refused
        };
        count.fetch_add(1, Ordering::Relaxed);
        connected
    }
}

async fn connect(target: Option<&Authority>) -> io::Result<TcpStream> {
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
    let target = target.ok_or_else(|| invalid("CONNECT needs host:port"))?;
    let port = target
        .port_u16()
        .ok_or_else(|| invalid("CONNECT needs a port"))?;
    let host = target.host().trim_start_matches('[').trim_end_matches(']');
    let connecting = TcpStream::connect((host, port));
    match tokio::time::timeout(CONNECT_WITHIN, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "no connection within 5s",
        )),
    }
}

/// Copies until both sides have ended; one side's end is passed on to the other (half-close).
pub(crate) async fn copy(upgrade: OnUpgrade, mut server: TcpStream) {
    let client = match upgrade.await {
        Ok(client) => client,
        Err(error) => {
            tracing::debug!(%error, "a tunnel's client went away");
            return;
        }
    };
    let mut client = TokioIo::new(client);
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut server).await {
        tracing::debug!(%error, "a tunnel ended early");
    }
}
