//! Copies of calls, for a backend whose answers nobody waits for.
//!
//! A copy is made when the request's body has been read to its end, in a task of its own. So the
//! call itself never waits for it, never sees its answer or error, and may be cancelled or fail
//! without it. What follows from that:
//!
//! - A copy has one attempt at one endpoint, and its own time: the route's `timeouts.request`, else
//!   15 s. It takes no retry and no budget, is no evidence for ejection or breakers, and counts in
//!   no metric of calls: `mesh_mirrored_total` and `mesh_mirror_dropped_total` are its own.
//! - It counts as a call in flight at its endpoint while it lasts, since it is load there.
//! - It carries `x-mesh-mirror: 1`, and the criticality `sheddable`: a server that sheds load sheds
//!   copies first. The host stays as it is (Envoy appends `-shadow`): a mirror is meant to see what
//!   the service sees.
//! - Its body is what the callee of the call was sent: after the rule's header edits and rewrite,
//!   before those of a single backend. A body longer than the mirror's limit (64 KiB) is not copied
//!   at all, and one that was not read to its end neither; both are counted.
//! - At most [`MOST`] copies exist at a time in a process, and they take at most half of the calls
//!   that the mirror's ceiling allows. Beyond, copies are dropped and counted: they are the first to
//!   go under load.

mod send;
mod tee;

use std::sync::Arc;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header};
use http_body::Body;
use mesh_core::ceiling::{Ceiling, Permit};
use mesh_core::context::{Criticality, Stamp};
use mesh_core::metadata;
use mesh_core::policy::model::{Mirror, WHOLE_PERCENT_MILLI};
use mesh_core::telemetry::names;

use self::tee::Tee;
use crate::body::MeshBody;
use crate::context::CallContext;
use crate::live_view::BackendView;
use crate::runtime::Tasks;
use crate::telemetry::Recorder;

/// Most copies of a process at a time: with bodies of 64 KiB, 8 MiB.
const MOST: u32 = 128;

/// Headers that concern one connection only (RFC 9110, 7.6.1), or that are written anew.
const NOT_COPIED: [HeaderName; 6] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::EXPECT,
    metadata::ATTEMPT,
];

/// The copies of one process.
pub(crate) struct Mirrors {
    room: Ceiling,
    tasks: Tasks,
    recorder: Recorder,
}

/// One copy that waits for the end of the request's body.
pub(crate) struct Duplicate {
    mirrors: Arc<Mirrors>,
    backend: Arc<BackendView>,
    max_body: usize,
    limit: std::time::Duration,
    grpc: bool,
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
    /// Its place among the copies of the process.
    _room: Permit,
}

/// What a copy is made from, beside the request.
pub(crate) struct Origin<'a> {
    pub(crate) call: &'a CallContext,
    pub(crate) service: &'a str,
    pub(crate) route: &'a str,
    /// How long a copy may take.
    pub(crate) limit: std::time::Duration,
}

// === impl Mirrors ===

impl Mirrors {
    pub(crate) fn new(recorder: Recorder) -> Self {
        Self {
            room: Ceiling::new(MOST),
            tasks: Tasks::default(),
            recorder,
        }
    }

    /// Draws whether a call is copied for `mirror`, and begins the copy.
    pub(crate) fn draw<B>(
        self: &Arc<Self>,
        mirror: &Mirror,
        backend: &Arc<BackendView>,
        origin: &Origin<'_>,
        request: &Request<B>,
    ) -> Option<Duplicate> {
        if fastrand::u32(..WHOLE_PERCENT_MILLI) >= mirror.percent_milli() {
            return None;
        }
        let Some(room) = self.room.try_acquire() else {
            self.dropped(backend, "crowded");
            return None;
        };
        Some(Duplicate {
            mirrors: self.clone(),
            backend: backend.clone(),
            max_body: mirror.max_body(),
            limit: origin.limit,
            grpc: origin.call.is_grpc(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: headers(request.headers(), backend, origin),
            _room: room,
        })
    }

    fn dropped(&self, backend: &BackendView, reason: &str) {
        let service = backend.policy().service().to_string();
        let labels = [(names::SERVICE, &*service), (names::REASON, reason)];
        self.recorder
            .counter(names::MIRROR_DROPPED, &labels)
            .increment(1);
    }
}

/// Lets the copies see the body of a request on its way.
pub(crate) fn attach(copies: Vec<Duplicate>, body: &mut MeshBody) {
    if copies.is_empty() {
        return;
    }
    let nothing = || body.is_end_stream().then(bytes::Bytes::new);
    if let Some(buffer) = body.as_buffer().or_else(nothing) {
        copies
            .into_iter()
            .for_each(|copy| copy.send(buffer.clone(), None));
        return;
    }
    let call = body.take_call();
    *body = MeshBody::new(Tee::new(std::mem::take(body), copies));
    if let Some(call) = call {
        body.carry(call);
    }
}

fn headers(headers: &HeaderMap, backend: &BackendView, origin: &Origin<'_>) -> HeaderMap {
    let mut headers = headers.clone();
    for name in NOT_COPIED {
        headers.remove(name);
    }
    let mut rng = fastrand::Rng::new();
    let span = origin.call.trace().child(&mut rng);
    headers.insert(metadata::TRACEPARENT, span.traceparent().to_header());
    if let Some(state) = span.tracestate() {
        headers.insert(metadata::TRACESTATE, state.clone());
    }
    headers.insert(metadata::MIRROR, HeaderValue::from_static("1"));
    let level = HeaderValue::from_static(Criticality::Sheddable.as_str());
    headers.insert(metadata::CRITICALITY, level);
    let stamp = Stamp {
        service: origin.service,
        route: origin.route,
        backend: &backend.policy().service().to_string(),
    };
    headers.insert(metadata::ROUTED, stamp.to_header());
    crate::deadline::inject(&mut headers, origin.call.is_grpc(), Some(origin.limit));
    headers
}
