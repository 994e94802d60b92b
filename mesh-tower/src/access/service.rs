use std::task::{Context, Poll};

use http::{Request, Response};
use mesh_core::{
    context::RequestContext,
    error::{ErrorKind, MeshError},
    identity::access::{Decision, Denied},
};
use tower_service::Service;

use super::{Rules, body::Watch, future::AccessFuture};
use crate::{
    BoxError,
    body::MeshBody,
    health::HealthProbe,
    metrics::inbound::PeerHandle,
    stack::{Describe, into_mesh_error, is_grpc},
    telemetry::Counter,
};

/// Service of [`AccessLayer`](super::AccessLayer).
#[derive(Clone, Debug)]
pub struct Access<S> {
    pub(super) inner: S,
    pub(super) rules: Rules,
    pub(super) denied: Counter,
}

/// Why, for the server's own log.
fn reason(why: Denied) -> &'static str {
    match why {
        Denied::NoIdentity => "the peer proved no identity",
        Denied::Caller => "no rule names the peer",
        Denied::Operation(_) => "a rule names the peer, none allows the operation",
        _ => "no rule allows it",
    }
}

// === impl Access ===

impl<S, B> Service<Request<B>> for Access<S>
where
    S: Service<Request<B>, Response = Response<MeshBody>>,
    S::Error: Into<BoxError>,
{
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = AccessFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        self.inner.poll_ready(cx).map_err(into_mesh_error)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let grpc = is_grpc(request.headers());
        let peer = request
            .extensions()
            .get::<RequestContext>()
            .and_then(|context| context.peer.as_ref());
        let path = request.uri().path();
        let decision = self.rules.decide(peer, request.method(), path, grpc);
        let name = || peer.map_or("a peer without identity", |peer| peer.as_str());
        // Health probes always pass. They are marked in this process, so no peer can do it.
        let probe = || request.extensions().get::<HealthProbe>().is_some();
        let stats = || request.extensions().get::<PeerHandle>();
        let denied = match decision {
            Decision::Allowed(_) => None,
            _ if probe() => None,
            Decision::AuditDenied(why) => {
                self.denied.increment(1);
                if let Some(peer) = stats() {
                    peer.0.audited();
                }
                tracing::info!(
                    target: "mesh::access",
                    application = stats().and_then(|stats| stats.0.of()),
                    peer = name(), method = %request.method(), path, why = reason(why),
                    "would be denied [M4001]: the policy only audits"
                );
                None
            }
            Decision::Denied(why) => Some(reason(why)),
            // Whatever else there will be is not an allowance.
            _ => Some("no rule allows it"),
        };
        if let Some(why) = denied {
            self.denied.increment(1);
            tracing::info!(
                target: "mesh::access",
                application = stats().and_then(|stats| stats.0.of()),
                peer = name(), method = %request.method(), path, why,
                "denied [M4001]"
            );
            let what = format!("{} may not {} {path}", name(), request.method());
            let error = MeshError::new(ErrorKind::Denied, what);
            return AccessFuture::denied(error.with_note("policy", why));
        }
        let watch = (self.rules.is_enforced() && !probe()).then(|| {
            Box::new(Watch {
                rules: self.rules.clone(),
                peer: peer.cloned(),
                method: request.method().clone(),
                uri: request.uri().clone(),
                grpc,
            })
        });
        AccessFuture::allowed(self.inner.call(request), watch)
    }
}

impl<S: Describe> Describe for Access<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("access");
        self.inner.describe(into);
    }
}
