//! Between hyper and the stack: the checks of HTTP itself, and what belongs to the connection.

use std::{
    cell::RefCell,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use mesh_core::metadata;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    admit,
    connection::Shared,
    detect::Rewind,
    is_buffered,
    pace::{BusyGuard, Line},
    stack::Stack,
    tunnel::Tunnel,
};
use crate::{
    body::MeshBody,
    metrics::inbound::PeerHandle,
    report::{LastStamp, Source},
    rescue::inbound::refusal,
    stack::Seam,
    transport::{BoxIo, ConnInfo, Lingering},
};

/// Whether the connection is to end after the answers it owes.
#[derive(Clone, Default)]
pub(super) struct Phase(Arc<AtomicBool>);

/// The service of one connection.
///
/// hyper calls it through `&self` from one task at a time; the cell saves a clone of the whole
/// stack per request.
pub(super) struct Dispatch {
    stack: RefCell<Stack<Seam>>,
    shared: Arc<Shared>,
    info: ConnInfo,
    peer: PeerHandle,
    /// A peer without an identity at a server that has one: what it says of the mesh is not heard.
    stranger: bool,
    /// Where plaintext comes from, if the policy chose this connection's protocol.
    source: Option<Arc<Source>>,
    stamp: RefCell<LastStamp>,
    line: Option<Line<Wire>>,
    phase: Phase,
}

/// What HTTP/1 is read from.
pub(super) type Wire = Lingering<Rewind<BoxIo>>;

type StackFuture = <Stack<Seam> as Service<Request<MeshBody>>>::Future;

pin_project! {
    /// Future of [`Dispatch`].
    pub(super) struct DispatchFuture {
        #[pin]
        inner: Option<StackFuture>,
        refused: Option<Response<MeshBody>>,
        busy: Option<BusyGuard<Wire>>,
        line: Option<Line<Wire>>,
        phase: Phase,
        version: Version,
        upgradable: bool,
        connect: bool,
    }
}

/// Whether the answer turns the connection into a tunnel.
fn is_tunnel(status: StatusCode, connect: bool) -> bool {
    status == StatusCode::SWITCHING_PROTOCOLS || (connect && status.is_success())
}

// === impl Phase ===

impl Phase {
    /// Starts to close; false if that had begun before.
    pub(super) fn close(&self) -> bool {
        !self.0.swap(true, Relaxed)
    }

    fn is_closing(&self) -> bool {
        self.0.load(Relaxed)
    }
}

// === impl Dispatch ===

impl Dispatch {
    pub(super) fn new(
        shared: &Arc<Shared>,
        info: ConnInfo,
        source: Option<Arc<Source>>,
        line: Option<Line<Wire>>,
        phase: Phase,
    ) -> Self {
        Self {
            stranger: info.peer.is_none() && shared.credentials.has_identity(),
            source,
            stamp: RefCell::default(),
            stack: RefCell::new(shared.stack.clone()),
            peer: PeerHandle(shared.parts.stats.peer(info.peer.as_ref())),
            shared: shared.clone(),
            info,
            line,
            phase,
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for Dispatch {
    type Response = Response<MeshBody>;
    /// Only of the connection: the stack always answers.
    type Error = io::Error;
    type Future = DispatchFuture;

    fn call(&self, mut request: Request<Incoming>) -> DispatchFuture {
        let version = request.version();
        let mut future = DispatchFuture {
            inner: None,
            refused: None,
            busy: self.line.as_ref().map(Line::enter),
            line: self.line.clone(),
            phase: self.phase.clone(),
            version,
            upgradable: false,
            connect: request.method() == Method::CONNECT,
        };
        if let Err(status) = admit::request(&mut request, self.shared.form, &self.shared.limits) {
            future.refused = Some(refusal(status, version));
            return future;
        }
        future.upgradable = admit::is_upgradable(&request);
        if self.stranger {
            request.headers_mut().remove(metadata::ROUTED);
            request.headers_mut().remove(metadata::MIRROR);
        }
        if let Some(source) = &self.source {
            source.called();
        }
        let stamps = self.peer.0.stamps();
        stamps.count(request.headers(), &mut self.stamp.borrow_mut());
        let extensions = request.extensions_mut();
        extensions.insert(self.info.clone());
        extensions.insert(self.peer.clone());
        future.inner = Some(self.stack.borrow_mut().call(request.map(MeshBody::new)));
        future
    }
}

// === impl DispatchFuture ===

impl Future for DispatchFuture {
    type Output = Result<Response<MeshBody>, io::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(response) = this.refused.take() {
            return Poll::Ready(Ok(response));
        }
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        let Poll::Ready(answered) = inner.poll(cx) else {
            if let Some(line) = this.line {
                let error = ready!(line.poll_broken(cx));
                // Nobody is left to be answered: what works for it ends now.
                this.inner.set(None);
                return Poll::Ready(Err(error));
            }
            return Poll::Pending;
        };
        let mut response = match answered {
            Ok(response) => response,
            Err(never) => match never {},
        };
        admit::response(&mut response, *this.version, *this.upgradable);
        if *this.upgradable
            && let Some(line) = this.line
            && is_tunnel(response.status(), *this.connect)
        {
            line.stop_lingering();
            line.unbound(Tunnel::begin(&mut response));
        } else if *this.version < Version::HTTP_2 && this.phase.is_closing() {
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(busy) = this.busy.take()
            && !is_buffered(response.body())
        {
            response = response.map(|body| body.with_guard(busy));
        }
        Poll::Ready(Ok(response))
    }
}
