use std::net::SocketAddr;
use std::time::Instant;

use http::uri::Authority;
use http::{Method, Request, Response, Uri};
use mesh_core::{
    context::{RequestContext, TraceContext},
    error::{Code, MeshError},
    identity::SpiffeId,
};

use crate::body::MeshBody;
use crate::metrics::inbound::PeerHandle;
use crate::runtime;
use crate::server::{Outside, host};
use crate::transport::ConnInfo;

/// One line to be written: when it is dropped, whatever became of the request.
pub(super) struct Line {
    method: Method,
    uri: Uri,
    peer: Option<SpiffeId>,
    stats: Option<PeerHandle>,
    trace: Option<TraceContext>,
    start: Instant,
    status: u16,
    code: Option<Code>,
    /// Of a client outside the mesh, who has no other name.
    outside: Option<(Option<Authority>, Option<SocketAddr>)>,
}

fn outside<B>(request: &Request<B>) -> Option<(Option<Authority>, Option<SocketAddr>)> {
    request.extensions().get::<Outside>()?;
    let client = request.extensions().get::<ConnInfo>();
    Some((host(request), client.and_then(|client| client.remote)))
}

// === impl Line ===

impl Line {
    /// `None` when nobody listens.
    pub(super) fn open<B>(request: &Request<B>) -> Option<Box<Self>> {
        if !tracing::enabled!(target: "mesh::access", tracing::Level::INFO) {
            return None;
        }
        let context = request.extensions().get::<RequestContext>();
        Some(Box::new(Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            peer: context.and_then(|context| context.peer.clone()),
            stats: request.extensions().get::<PeerHandle>().cloned(),
            trace: context.map(|context| context.trace.clone()),
            start: runtime::now(),
            status: 0,
            code: None,
            outside: outside(request),
        }))
    }

    pub(super) fn answered(&mut self, response: &Response<MeshBody>) {
        self.status = response.status().as_u16();
        self.code = response
            .extensions()
            .get::<MeshError>()
            .map(MeshError::code);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let (host, client) = match &self.outside {
            Some((host, client)) => (host.as_ref(), *client),
            None => (None, None),
        };
        let traceparent = self.trace.as_ref().map(TraceContext::traceparent);
        let application = self.stats.as_ref().and_then(|stats| stats.0.of());
        tracing::info!(
            target: "mesh::access",
            application,
            peer = self.peer.as_ref().map_or("-", |peer| peer.as_str()),
            method = self.method.as_str(),
            // A parser has accepted it.
            host = host.map(tracing::field::display),
            client = client.map(tracing::field::display),
            path = self.uri.path(),
            // 0: the peer went away before it was told anything.
            status = self.status,
            code = self.code.map(tracing::field::display),
            ms = u64::try_from(runtime::now().saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX),
            trace = traceparent.as_ref().map_or("-", |text| text.trace_id()),
        );
    }
}
