//! The beginning of a connection from outside: its TLS, or to whom it is carried.

use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::error::{ErrorKind, MeshError};

use super::{Edge, EdgeTls};
use crate::server::connection::Shared;
use crate::server::detect::Http;
use crate::server::secure::Secured;
use crate::tcp::TcpClient;
use crate::tls::{Found, Served, hello};
use crate::transport::BoxIo;

/// What a connection turned out to be.
pub(in crate::server) enum Opening {
    /// It brings requests. Without TLS there is no certificate.
    Requests(Secured, Option<Arc<Served>>),
    /// It is carried on as it is.
    Bytes(Passed),
}

/// TLS that is ended elsewhere.
pub(in crate::server) struct Passed {
    /// What was read of it.
    first: Vec<u8>,
    io: BoxIo,
    client: TcpClient,
}

// === impl Edge ===

impl Edge {
    /// Whoever calls bounds the time.
    pub(in crate::server) async fn open(
        &self,
        shared: &Shared,
        io: BoxIo,
        remote: SocketAddr,
    ) -> Result<Opening, MeshError> {
        let Some(tls) = &self.tls else {
            let secured = Secured {
                io,
                peer: None,
                source: None,
                tls: false,
                http: None,
            };
            return Ok(Opening::Requests(secured, None));
        };
        let failed = |failure: crate::tls::TlsFailure| {
            shared.handshakes.failed.increment(1);
            failure.into_error("handshake refused")
        };
        let hello = hello(io, !tls.passed.is_empty()).await.map_err(failed)?;
        let found = match tls.choose(hello.name()) {
            Choice::Pass(client) => {
                let (client, (first, io)) = (client.clone(), hello.into_bytes());
                return Ok(Opening::Bytes(Passed { first, io, client }));
            }
            Choice::Show(found) => found,
            Choice::Nobody => {
                shared.handshakes.failed.increment(1);
                let (reason, name, text) = match hello.name() {
                    Some(name) => (&self.refused.unknown_name, name, format!("{name:.100}")),
                    None => {
                        let text = "a client without SNI".to_owned();
                        (&self.refused.no_name, "-", text)
                    }
                };
                reason.tell(Some(remote), name, None);
                hello.refuse().await;
                let what = format!("no certificate for {text}");
                return Err(MeshError::new(ErrorKind::Tls, what));
            }
        };
        let least = shared.transport().0.min_version();
        let greeted = hello.accept(&found.served, least).await.map_err(failed)?;
        shared.handshakes.ok.increment(1);
        let secured = Secured {
            http: match greeted.alpn.as_deref() {
                Some(b"h2") => Some(Http::Two),
                Some(b"http/1.1") => Some(Http::One),
                _ => None,
            },
            io: greeted.io,
            peer: None,
            source: None,
            tls: true,
        };
        Ok(Opening::Requests(secured, Some(found.served)))
    }
}

enum Choice<'a> {
    Pass(&'a TcpClient),
    Show(Found),
    Nobody,
}

// === impl EdgeTls ===

impl EdgeTls {
    /// Exact names before patterns; of two that are alike, what is passed through.
    fn choose(&self, name: Option<&str>) -> Choice<'_> {
        let passed = name.and_then(|name| self.passed(name));
        if let Some((client, true)) = passed {
            return Choice::Pass(client);
        }
        let certificates = self.certificates.as_ref();
        let found = certificates.and_then(|certificates| certificates.find(name));
        match (passed, found) {
            (_, Some(found)) if found.exact => Choice::Show(found),
            (Some((client, _)), _) => Choice::Pass(client),
            (None, Some(found)) => Choice::Show(found),
            (None, None) => Choice::Nobody,
        }
    }
}

// === impl Passed ===

impl Passed {
    /// Until both sides have ended, or the time to drain is over.
    pub(in crate::server) async fn carry(mut self, shared: &Shared, from: SocketAddr) {
        let mut signal = shared.signal.clone();
        let cut = async move {
            // An error means that the server is gone.
            let _ = signal.wait_for(|signal| signal.cut).await;
        };
        // Its end is in the access log.
        let _ = self.client.carry_on(&self.first, self.io, from, cut).await;
    }
}
