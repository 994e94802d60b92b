//! Requests of the mesh on their way to the application: the service under the server stack.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, Version};
use mesh_core::error::{ErrorKind, MeshError};
use mesh_tower::Mesh;
use mesh_tower::body::MeshBody;
use mesh_tower::server::ServerHandle;
use mesh_tower::transport::{EndpointPool, PoolConfig, Protocol, TcpAccept};
use mesh_tower::upgrade::Relay;
use tower_service::Service;

use crate::config::{App, AppProtocol};

/// The application, as a service.
#[derive(Clone)]
pub(crate) struct LocalApp {
    pool: Arc<EndpointPool>,
    /// What the application speaks; the peer's version means nothing to it.
    version: Version,
}

impl LocalApp {
    pub(crate) fn new(pool: Arc<EndpointPool>, version: Version) -> Self {
        Self { pool, version }
    }
}

impl Service<Request<MeshBody>> for LocalApp {
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, MeshError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<MeshBody>) -> Self::Future {
        let relay = Relay::of(&mut request);
        *request.version_mut() = self.version;
        let pool = self.pool.clone();
        Box::pin(async move { Ok(Relay::answer(relay, pool.call(request).await?)) })
    }
}

/// Starts to take requests of the mesh for `app` on this worker.
pub(crate) fn serve(
    mesh: &Mesh,
    app: App,
    listener: std::net::TcpListener,
) -> Result<ServerHandle, MeshError> {
    let listener = TcpAccept::from_std(listener).map_err(|error| {
        MeshError::new(ErrorKind::Internal, format!("inbound listener: {error}"))
    })?;
    // Announced once for all workers, by the main thread.
    let server = mesh
        .server()
        .accept(listener)
        .announce(false)
        .forwarded(app.forwarded);
    let (protocol, version) = match app.protocol {
        AppProtocol::Tcp => return server.serve_tcp(app.addr),
        AppProtocol::Http => (Protocol::Http1, Version::HTTP_11),
        AppProtocol::H2c | AppProtocol::Grpc => (Protocol::Http2, Version::HTTP_2),
    };
    let pool = EndpointPool::new(
        PoolConfig::new(app.addr).with_protocol(protocol),
        mesh.connector().clone(),
    );
    let app = LocalApp::new(Arc::new(pool), version);
    server.serve(app)
}
