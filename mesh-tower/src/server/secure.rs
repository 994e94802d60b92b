//! How a connection is secured, who is behind it, and whether it may go on.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use mesh_core::{
    error::{ErrorKind, MeshError},
    identity::SpiffeId,
    name::ServiceName,
    policy::model::{MtlsMode, TransportModel},
};

use super::{
    TlsChoice,
    connection::{Shared, broken},
    detect::{self, First, Http},
};
use crate::{report::Source, tls::ServerTls, transport::BoxIo};

/// How long a plaintext client of bytes is listened to before it is taken for one that waits for the
/// server to speak.
const SERVER_FIRST: Duration = Duration::from_millis(300);

/// A connection whose peer is known as well as it will be.
pub(super) struct Secured {
    pub(super) io: BoxIo,
    pub(super) peer: Option<SpiffeId>,
    /// Set for plaintext that the policy lets in.
    pub(super) source: Option<Arc<Source>>,
    pub(super) tls: bool,
    pub(super) http: Option<Http>,
}

/// What is accepted from one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepted {
    Plaintext,
    Tls,
    Either,
    Join,
}

// === impl Shared ===

impl Shared {
    /// One line at the start, so that nobody serves plaintext without knowing.
    pub(super) fn say_how_it_is_secured(&self) {
        if self.choice == TlsChoice::Policy && !self.credentials.has_identity() {
            tracing::info!(
                target: "mesh::server",
                addr = %self.local,
                "no identity yet: plaintext, unless the policy demands mutual TLS"
            );
        }
    }

    pub(super) fn transport(&self) -> (Arc<TransportModel>, ServiceName) {
        let service = self.service.clone();
        let model = self.policy.clone().get().inbound().transport_for(&service);
        (model, service)
    }

    /// What is accepted from a source now.
    fn accepted(&self, model: &TransportModel, remote: SocketAddr) -> Result<Accepted, MeshError> {
        let port = self.local.port();
        Ok(match self.choice {
            TlsChoice::Disabled => Accepted::Plaintext,
            TlsChoice::Strict => Accepted::Tls,
            TlsChoice::Permissive => Accepted::Either,
            TlsChoice::Join => Accepted::Join,
            TlsChoice::Policy if !self.credentials.has_identity() => {
                if model.is_explicit() && model.mtls(Some(port)) == MtlsMode::Strict {
                    let what = "the policy demands mutual TLS, and this process has no identity";
                    return Err(MeshError::new(ErrorKind::Identity, what));
                }
                Accepted::Plaintext
            }
            TlsChoice::Policy => match model.mtls(Some(port)) {
                MtlsMode::Disabled => Accepted::Plaintext,
                MtlsMode::Permissive => Accepted::Either,
                MtlsMode::Strict => {
                    if model.accepts_plaintext(remote.ip(), port, SystemTime::now()) {
                        Accepted::Either
                    } else {
                        Accepted::Tls
                    }
                }
            },
        })
    }

    pub(super) async fn secure(&self, io: BoxIo, remote: SocketAddr) -> Result<Secured, MeshError> {
        let (model, _) = self.transport();
        match self.accepted(&model, remote)? {
            Accepted::Plaintext => {
                // Chosen for this listener, it is nobody's shortcoming.
                let counted = self.choice == TlsChoice::Policy;
                let source = counted.then(|| self.stats.plaintext_peer(remote.ip()));
                Ok(self.plaintext(io, source.flatten()))
            }
            Accepted::Tls => {
                let (first, io) = detect::first(io).await.map_err(broken)?;
                if first == First::Other {
                    // It is refused, and named: somebody believes that it may call.
                    drop(self.stats.plaintext_peer(remote.ip()));
                    self.handshakes.failed.increment(1);
                    let what = "plaintext where mutual TLS is demanded";
                    return Err(MeshError::new(ErrorKind::Identity, what));
                }
                self.handshake(&self.tls, Box::new(io), &model).await
            }
            Accepted::Join => self.handshake(&self.join, io, &model).await,
            Accepted::Either => {
                let first = match self.bytes {
                    None => detect::first(io).await,
                    Some(_) => detect::first_within(io, SERVER_FIRST).await,
                };
                let (first, io) = first.map_err(broken)?;
                let io: BoxIo = Box::new(io);
                if first == First::Tls {
                    return self.handshake(&self.tls, io, &model).await;
                }
                let source = self.stats.plaintext_peer(remote.ip());
                Ok(self.plaintext(io, source))
            }
        }
    }

    fn plaintext(&self, io: BoxIo, source: Option<Arc<Source>>) -> Secured {
        Secured {
            io,
            peer: None,
            source,
            tls: false,
            http: None,
        }
    }

    async fn handshake(
        &self,
        tls: &ServerTls,
        io: BoxIo,
        model: &TransportModel,
    ) -> Result<Secured, MeshError> {
        let accepted = match tls.at_least(model.min_version()).accept(io).await {
            Ok(accepted) => accepted,
            Err(error) => {
                self.handshakes.failed.increment(1);
                return Err(error);
            }
        };
        if let Some(peer) = &accepted.peer
            && !self.trusts(peer, model)
        {
            self.handshakes.failed.increment(1);
            let what = format!(
                "{} is of a trust domain that is not accepted",
                peer.as_str()
            );
            return Err(MeshError::new(ErrorKind::Identity, what));
        }
        self.handshakes.ok.increment(1);
        Ok(Secured {
            http: match accepted.alpn.as_deref() {
                Some(b"h2") => Some(Http::Two),
                Some(b"http/1.1") => Some(Http::One),
                _ => None,
            },
            io: accepted.io,
            peer: accepted.peer,
            source: None,
            tls: true,
        })
    }

    /// Whether the policy accepts callers of the peer's trust domain; none named is the own one.
    fn trusts(&self, peer: &SpiffeId, model: &TransportModel) -> bool {
        let domain = peer.trust_domain();
        if model.trust_domains().is_empty() {
            return self
                .credentials
                .identity()
                .is_none_or(|own| own.spiffe_id().trust_domain() == domain);
        }
        model
            .trust_domains()
            .iter()
            .any(|accepted| **accepted == *domain)
    }

    /// Why a live connection may not go on; `None` if it may.
    pub(super) fn revoked(
        &self,
        peer: Option<&SpiffeId>,
        tls: bool,
        remote: SocketAddr,
    ) -> Option<&'static str> {
        let (model, _) = self.transport();
        match peer {
            Some(peer) => {
                let known = self
                    .credentials
                    .trust()
                    .domains()
                    .any(|d| d == peer.trust_domain());
                (!known || !self.trusts(peer, &model)).then_some("trust was revoked [M4003]")
            }
            None if tls => None,
            None => matches!(
                self.accepted(&model, remote),
                Ok(Accepted::Tls | Accepted::Join) | Err(_)
            )
            .then_some("plaintext is no longer accepted [M4003]"),
        }
    }

    /// When a plaintext connection that only an exception lets in has to end.
    pub(super) fn excepted_for(&self, tls: bool, remote: SocketAddr) -> Option<Duration> {
        let by_policy = self.choice == TlsChoice::Policy && self.credentials.has_identity();
        if tls || !by_policy {
            return None;
        }
        let (now, port) = (SystemTime::now(), self.local.port());
        let (model, _) = self.transport();
        let end = model.plaintext_until(remote.ip(), port, now)?;
        Some(end.duration_since(now).unwrap_or_default())
    }
}
