//! Connections that turned out to bring requests, handed to servers that take them as the other
//! listeners do.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::uri::Authority;
use mesh_core::error::MeshError;
use mesh_tower::Mesh;
use mesh_tower::server::ServerHandle;
use mesh_tower::transport::{Accept, BoxIo};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::proxy::{Outbound, Tunnels};

/// Connections that wait for their server, which accepts as fast as it can.
const WAITING: usize = 1024;
/// Services that are reached by address, each with a server of its own.
const SERVICES: usize = 1024;

type Connection = (BoxIo, SocketAddr);

/// The servers.
pub(crate) struct Requests {
    mesh: Mesh,
    local: SocketAddr,
    by_host: mpsc::Sender<Connection>,
    by_service: Mutex<HashMap<String, mpsc::Sender<Connection>>>,
    handles: Mutex<Vec<Arc<ServerHandle>>>,
}

/// Accepts what it is handed.
struct Handed {
    connections: mpsc::Receiver<Connection>,
    local: SocketAddr,
}

impl Accept for Handed {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Connection>> {
        match self.connections.poll_recv(cx) {
            Poll::Ready(Some(connection)) => Poll::Ready(Ok(connection)),
            // Nobody is left to hand anything over.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}

// === impl Requests ===

impl Requests {
    pub(crate) fn new(
        mesh: &Mesh,
        local: SocketAddr,
        tunnels: Arc<Tunnels>,
        open: TaskTracker,
    ) -> Result<Self, MeshError> {
        let proxy = Outbound::proxy(mesh, tunnels, open);
        let (by_host, handle) = start(mesh, local, proxy)?;
        Ok(Self {
            mesh: mesh.clone(),
            local,
            by_host,
            by_service: Mutex::default(),
            handles: Mutex::new(vec![handle]),
        })
    }

    /// Requests that are routed by their Host.
    pub(crate) async fn by_host(&self, io: BoxIo, from: SocketAddr) {
        let _ = self.by_host.send((io, from)).await;
    }

    /// Requests that go to one service, whatever their Host says.
    pub(crate) async fn to(&self, target: &str, io: BoxIo, from: SocketAddr) {
        match self.server(target) {
            Ok(server) => drop(server.send((io, from)).await),
            Err(error) => tracing::warn!(target, "no server for it: {error}"),
        }
    }

    fn server(&self, target: &str) -> Result<mpsc::Sender<Connection>, MeshError> {
        let mut servers = self
            .by_service
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = servers.get(target) {
            return Ok(server.clone());
        }
        let named = target.parse::<Authority>().ok();
        let named = named.and_then(|authority| authority.try_into().ok());
        let (Some(named), true) = (named, servers.len() < SERVICES) else {
            return Ok(self.by_host.clone());
        };
        let port = Outbound::port(self.mesh.client(target), named);
        let (server, handle) = start(&self.mesh, self.local, port)?;
        servers.insert(target.to_owned(), server.clone());
        self.handles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(handle);
        Ok(server)
    }

    /// Takes no more and lets what is in flight end.
    pub(crate) async fn shutdown(&self) {
        let handles = self
            .handles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        futures_util::future::join_all(handles.iter().map(|one| one.shutdown())).await;
    }
}

fn start(
    mesh: &Mesh,
    local: SocketAddr,
    outbound: Outbound,
) -> Result<(mpsc::Sender<Connection>, Arc<ServerHandle>), MeshError> {
    let (sender, connections) = mpsc::channel(WAITING);
    let handle = outbound.serve_on(mesh, Handed { connections, local })?;
    Ok((sender, Arc::new(handle)))
}
