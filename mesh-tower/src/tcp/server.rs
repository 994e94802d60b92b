//! The server's side: a peer that has been let in, and the application that it is carried to.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::error::ErrorKind;
use mesh_core::identity::SpiffeId;
use tokio::io::AsyncWriteExt;

use super::copy::{self, End, Moved};
use super::record::{self, Record};
use crate::telemetry::Recorder;
use crate::transport::{BoxIo, Connect, abort};

/// The application is on this machine, or near.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// What an inbound listener of bytes carries to.
pub(crate) struct Application {
    pub(crate) addr: SocketAddr,
    pub(crate) connect: Arc<dyn Connect>,
    pub(crate) recorder: Recorder,
    pub(crate) service: Arc<str>,
}

/// A peer's connection.
pub(crate) struct Caller {
    pub(crate) io: BoxIo,
    pub(crate) peer: Option<SpiffeId>,
    pub(crate) remote: SocketAddr,
    /// It waits for a word of ours: mutual TLS.
    pub(crate) tls: bool,
}

// === impl Application ===

impl Application {
    /// Counts a peer that was turned away, and tells it why.
    pub(crate) async fn refuse(&self, mut caller: Caller, kind: ErrorKind) {
        record::count(&self.recorder, "inbound", &self.service, kind.label());
        if caller.tls {
            // Who does not read that is not told it.
            let _ = tokio::time::timeout(CONNECT_WITHIN, async {
                say(&mut caller.io, kind.code().number()).await?;
                caller.io.shutdown().await
            })
            .await;
        }
        tracing::info!(
            target: "mesh::access",
            protocol = "tcp",
            direction = "inbound",
            service = &*self.service,
            peer = caller.peer.as_ref().map_or("-", |peer| peer.as_str()),
            from = %caller.remote,
            end = "refused",
            code = %kind.code(),
        );
        abort(caller.io);
    }

    /// Carries a peer's bytes until the end, or until `cut`.
    pub(crate) async fn carry(
        &self,
        mut caller: Caller,
        cut: impl Future<Output = End>,
    ) -> Option<Moved> {
        let connecting = self.connect.connect(self.addr);
        let app = match tokio::time::timeout(CONNECT_WITHIN, connecting).await {
            Ok(Ok(app)) => app,
            failed => {
                let why = match failed {
                    Ok(Err(error)) => error.to_string(),
                    _ => format!("no connection within {CONNECT_WITHIN:?}"),
                };
                tracing::warn!(
                    target: "mesh::server",
                    app = %self.addr,
                    "the application takes no connection: {why} [M2010]"
                );
                self.refuse(caller, ErrorKind::Connect).await;
                return None;
            }
        };
        let mut record = Record::open(&self.recorder, "inbound", self.service.clone(), self.addr);
        record.peer = caller.peer.clone();
        record.from = Some(caller.remote);
        if caller.tls && say(&mut caller.io, 0).await.is_err() {
            record.end = Some(End::Client);
            abort(app);
            return None;
        }
        let meter = record.meter().clone();
        // Without a limit on silence of its own: the caller has one, and probes find dead peers.
        let (end, client, app) = copy::copy(caller.io, app, &meter, None, cut).await;
        record.end = Some(end);
        if end != End::Closed {
            abort(client);
            abort(app);
        }
        Some(Moved {
            sent: meter.sent(),
            received: meter.received(),
            end,
        })
    }
}

async fn say(io: &mut BoxIo, code: u16) -> io::Result<()> {
    io.write_u16(code).await?;
    io.flush().await
}
