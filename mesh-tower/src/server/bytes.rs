//! A connection of bytes: secured and allowed as requests are, then carried to the application.

use std::{net::SocketAddr, sync::Arc};

use mesh_core::error::ErrorKind;

use super::{
    connection::Shared,
    signal::{Cut, Gate},
};
use crate::{
    access::Rules,
    tcp::{Application, Caller, End},
    transport::BoxIo,
};

/// Serves one connection to its end.
pub(super) async fn serve(shared: Arc<Shared>, app: &Application, io: BoxIo, remote: SocketAddr) {
    let limit = shared.limits.handshake;
    let secured = match tokio::time::timeout(limit, shared.secure(io, remote)).await {
        Ok(Ok(secured)) => secured,
        Ok(Err(error)) => {
            tracing::debug!(target: "mesh::server", %remote, "connection refused: {error}");
            return;
        }
        Err(_) => {
            tracing::debug!(target: "mesh::server", %remote, "no handshake within {limit:?}");
            return;
        }
    };
    let rules =
        Rules::live(shared.policy.clone(), shared.service.clone()).within(&shared.credentials);
    let peer = secured.peer.clone();
    let mut gate = Gate::new(shared, rules, peer, secured.tls, remote);
    let caller = Caller {
        io: secured.io,
        peer: secured.peer,
        remote,
        tls: secured.tls,
    };
    if !gate.is_allowed() {
        return app.refuse(caller, ErrorKind::Denied).await;
    }
    let cut = async {
        loop {
            // What is in flight goes on until the drain's time is over.
            if let Cut::Now(reason) = gate.next().await {
                tracing::info!(target: "mesh::server", %remote, "connection cut: {reason}");
                // Trust and access have a code, a drain has none.
                return match reason.contains("[M4") {
                    true => End::Revoked,
                    false => End::Cut,
                };
            }
        }
    };
    let _ = app.carry(caller, cut).await;
}
