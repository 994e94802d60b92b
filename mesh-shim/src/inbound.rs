//! Requests of the mesh on their way to the application.

use std::sync::Arc;

use http::Version;
use mesh_core::error::{ErrorKind, Flags, MeshError};
use mesh_tower::Mesh;
use mesh_tower::server::ServerHandle;
use mesh_tower::transport::{EndpointPool, PoolConfig, Protocol, TcpAccept};

use crate::config::{App, AppProtocol};
use crate::plain_peer::PlainPeer;

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
    server.serve(PlainPeer::new(Arc::new(pool), version).telling(of_application))
}

/// A failure towards the application, as callers are told of it: they may go to another instance.
fn of_application(error: MeshError) -> MeshError {
    let flags = error.flags();
    let (kind, flags) = if flags.non_retryable {
        return error;
    } else if flags.never_sent || flags.refused {
        let never_sent = Flags {
            never_sent: true,
            ..Flags::default()
        };
        (ErrorKind::Unreached, never_sent)
    } else if flags.broken {
        (ErrorKind::Unanswered, flags)
    } else {
        return error;
    };
    MeshError::new(kind, format!("the application at {}", error.message()))
        .with_flags(flags)
        .with_source(error)
}
