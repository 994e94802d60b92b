use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;

use mesh_core::error::MeshError;
use mesh_core::policy::model::AppProtocol;
use tokio::io::AsyncWriteExt as _;

use super::connection::TcpConnection;
use super::copy::{self, End, Moved};
use super::{open, record};
use crate::Mesh;
use crate::route::{MeshSource, Target};
use crate::transport::{BoxIo, abort};

/// Opens connections of bytes to one service. Made by [`Mesh::tcp`]; clones are cheap.
#[derive(Clone)]
pub struct TcpClient {
    source: MeshSource,
    /// The bytes are TLS already.
    through: bool,
}

impl Mesh {
    /// A client of one service for bytes: `"redis:6379"`, `"redis.shop"`. Never fails: a bad name is
    /// an error of the connection.
    pub fn tcp(&self, target: &str) -> TcpClient {
        let target = Target::parse(target, self.default_namespace());
        TcpClient {
            source: MeshSource::new(self.inner(), target),
            through: false,
        }
    }
}

// === impl TcpClient ===

impl TcpClient {
    /// Whether the policy in force says that the port speaks `tcp`. Waits for a first policy of the
    /// service, as a call would; a service that nobody knows is not declared.
    pub async fn is_declared(&mut self) -> bool {
        let Ok((service, port)) = self.source.service().await else {
            return false;
        };
        service.protocol(port) == AppProtocol::Tcp
    }

    /// The same, if it is known already.
    pub fn declared_now(&mut self) -> Option<bool> {
        let (service, port) = self.source.service_now()?;
        Some(service.protocol(port) == AppProtocol::Tcp)
    }

    /// Opens a connection to an endpoint.
    ///
    /// # Errors
    ///
    /// As a call has them: no endpoint, a ceiling or the breaker, a connection that could not be
    /// made, an access policy of the server. Nothing was written.
    pub async fn connect(&mut self) -> Result<TcpConnection, MeshError> {
        open::open(&mut self.source, self.through).await
    }

    /// The same for bytes that are TLS already.
    pub(super) fn through(mut self) -> Self {
        self.through = true;
        self
    }

    /// Carries a client's bytes to an endpoint and back, until both have ended, one has broken off,
    /// nothing has moved for the policy's `streamIdleTimeout` (an hour if it says nothing), or `cut`
    /// resolves. One line of the access log says how it went.
    ///
    /// # Errors
    ///
    /// As [`TcpClient::connect`]. The client's connection has been reset then: there is no other way
    /// to tell a client of bytes that it was not served.
    pub async fn carry(
        &mut self,
        client: BoxIo,
        from: SocketAddr,
        cut: impl Future<Output = ()>,
    ) -> Result<Moved, MeshError> {
        let connection = match self.connect().await {
            Ok(connection) => connection,
            Err(error) => {
                abort(client);
                record::refused_line(from, &error);
                return Err(error);
            }
        };
        Ok(connection.carry(client, from, cut).await)
    }

    /// The same for a client of which `first` was read already.
    ///
    /// # Errors
    ///
    /// As [`TcpClient::carry`].
    pub(crate) async fn carry_on(
        &mut self,
        first: &[u8],
        client: BoxIo,
        from: SocketAddr,
        cut: impl Future<Output = ()>,
    ) -> Result<Moved, MeshError> {
        let mut connection = match self.connect().await {
            Ok(connection) => connection,
            Err(error) => {
                abort(client);
                record::refused_line(from, &error);
                return Err(error);
            }
        };
        let mut cut = pin!(cut);
        tokio::select! {
            biased;
            // An endpoint that has broken off is found so again at once.
            _ = connection.write_all(first) => {}
            () = cut.as_mut() => return Ok(connection.carry(client, from, std::future::ready(())).await),
        }
        Ok(connection.carry(client, from, cut).await)
    }
}

impl TcpConnection {
    /// [`TcpClient::carry`] for a connection that was opened before.
    pub async fn carry(
        mut self,
        client: BoxIo,
        from: SocketAddr,
        cut: impl Future<Output = ()>,
    ) -> Moved {
        let (idle, revoked) = (self.idle(), self.revoked());
        self.record_mut().from = Some(from);
        let meter = self.meter();
        let (end, client, endpoint) = {
            let cut = async {
                tokio::select! {
                    biased;
                    () = cut => End::Cut,
                    () = revoked => End::Revoked,
                }
            };
            copy::copy(client, self.take_io(), &meter, Some(idle), cut).await
        };
        self.record_mut().end = Some(end);
        if end != End::Closed {
            abort(client);
            abort(endpoint);
        }
        Moved {
            sent: meter.sent(),
            received: meter.received(),
            end,
        }
    }
}

impl std::fmt::Debug for TcpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TcpClient").finish_non_exhaustive()
    }
}
