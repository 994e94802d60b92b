//! What a request from outside must be like, and what of it is believed.

use std::sync::Arc;

use http::uri::{Authority, Scheme};
use http::{HeaderName, Request, Response, StatusCode, Uri, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use mesh_core::context::TraceContext;
use mesh_core::metadata;

use super::Edge;
use super::refused::host_of;
use crate::body::MeshBody;
use crate::stack::is_grpc;
use crate::tls::Served;
use crate::transport::ConnInfo;

/// Most bytes of a host with its port: no name is longer (RFC 1035 3.1).
const HOST: usize = 255 + 6;

/// Marks a request that came from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outside;

/// The host that a request is for: that of its target, else that of its Host field.
pub(crate) fn host<B>(request: &Request<B>) -> Option<Authority> {
    match request.uri().authority() {
        Some(authority) => Some(authority.clone()),
        None => {
            let host = request.headers().get(header::HOST)?;
            Authority::try_from(host.as_bytes()).ok()
        }
    }
}

/// What only peers of the mesh say, and are told.
fn is_of_the_mesh(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-mesh-")
        || name.starts_with("mesh-")
        || name.starts_with("endpoint-load-metrics")
}

/// What of a request nobody outside may say. A deadline may be said as gRPC has it, which only makes
/// ours shorter; how often a call was tried before would switch our own retries off.
fn may_not_be_said(name: &HeaderName) -> bool {
    is_of_the_mesh(name) || *name == metadata::PREVIOUS_ATTEMPTS || is_b3(name)
}

fn is_b3(name: &HeaderName) -> bool {
    *name == metadata::B3 || name.as_str().starts_with("x-b3-")
}

// === impl Edge ===

impl Edge {
    /// Refuses a request, or puts it into the form that is routed: an absolute target, and nothing in
    /// it that only the mesh may say.
    pub(in crate::server) fn admit<B>(
        &self,
        request: &mut Request<B>,
        served: Option<&Arc<Served>>,
        info: &ConnInfo,
    ) -> Result<(), StatusCode> {
        let tls = info.tls;
        let is_host = |host: &Authority| !host.host().is_empty() && host.as_str().len() <= HOST;
        let Some(host) = host(request).filter(is_host) else {
            let status = StatusCode::BAD_REQUEST;
            let named = host_of(request.uri(), request.headers());
            self.refused.no_host.tell(info.remote, named, Some(status));
            return Err(status);
        };
        if let Some(served) = served
            && !served.names().covers(host.host())
        {
            let status = StatusCode::MISDIRECTED_REQUEST;
            let misdirected = &self.refused.misdirected;
            misdirected.tell(info.remote, host.as_str(), Some(status));
            return Err(status);
        }
        // `OPTIONS *` has no path that an absolute target could have.
        if request.uri().path().starts_with('/') {
            let mut parts = std::mem::take(request.uri_mut()).into_parts();
            parts.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
            parts.authority = Some(host);
            *request.uri_mut() = Uri::from_parts(parts).map_err(|_| StatusCode::BAD_REQUEST)?;
        }
        self.scrub(request);
        request.extensions_mut().insert(Outside);
        Ok(())
    }

    /// A request that no server of the mesh takes.
    pub(in crate::server) fn malformed<B>(
        &self,
        request: &Request<B>,
        info: &ConnInfo,
        status: StatusCode,
    ) {
        let named = host_of(request.uri(), request.headers());
        let malformed = &self.refused.malformed;
        malformed.tell(info.remote, named, Some(status));
    }

    /// The trace goes on; whether it is recorded is ours to say, or a stranger could fill the store
    /// of traces.
    fn scrub<B>(&self, request: &mut Request<B>) {
        let headers = request.headers_mut();
        let trace = TraceContext::from_headers(headers);
        while let Some(name) = headers.keys().find(|name| may_not_be_said(name)).cloned() {
            headers.remove(name);
        }
        headers.remove(metadata::TRACEPARENT);
        match trace {
            Some(trace) => {
                const SAMPLED: u8 = 1;
                let sampled = u8::from(self.tracing.samples_root()) * SAMPLED;
                let flags = (trace.flags() & !SAMPLED) | sampled;
                let ours = TraceContext::from_ids(trace.trace_id(), trace.span_id(), flags);
                if let Some(ours) = ours {
                    let value = ours.traceparent().to_header();
                    headers.insert(metadata::TRACEPARENT, value);
                }
            }
            None => drop(headers.remove(metadata::TRACESTATE)),
        }
    }

    /// Takes out of an answer what only the mesh is told.
    pub(in crate::server) fn clean(response: Response<MeshBody>) -> Response<MeshBody> {
        let mut response = response;
        let headers = response.headers_mut();
        while let Some(name) = headers.keys().find(|name| is_of_the_mesh(name)).cloned() {
            headers.remove(name);
        }
        if !is_grpc(response.headers()) || response.body().is_end_stream() {
            return response;
        }
        response.map(|body| {
            MeshBody::new(body.map_frame(|frame| match frame.into_trailers() {
                Ok(mut trailers) => {
                    trailers.remove(metadata::LOAD_BIN);
                    trailers.remove(metadata::LOAD);
                    hyper::body::Frame::trailers(trailers)
                }
                Err(frame) => frame,
            }))
        })
    }
}
