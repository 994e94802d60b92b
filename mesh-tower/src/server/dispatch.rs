//! Between hyper and the stack: the checks of HTTP itself, and what belongs to the connection.

use std::{
    cell::RefCell,
    convert::Infallible,
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
use http_body::Body as _;
use hyper::body::Incoming;
use mesh_core::metadata;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    admit::{self, Asked, Form},
    connection::Shared,
    detect::Rewind,
    ends::{Endless, is_endless},
    ingress::Edge,
    is_buffered,
    line::{BusyGuard, Line},
    tunnel::Tunnel,
};
use crate::{
    body::MeshBody,
    expect::{self, Expectation},
    headers::{
        find,
        forwarded::{self, Sender},
    },
    metrics::inbound::PeerHandle,
    report::{LastStamp, Source},
    rescue::inbound::refusal,
    tls::Served,
    transport::{BoxIo, ConnInfo, Lingering},
};

/// Whether the connection is to end after the answers it owes.
#[derive(Clone, Default)]
pub(super) struct Phase(Arc<AtomicBool>);

/// The service of one connection.
///
/// hyper calls it through `&self` from one task at a time; the cell saves a clone of the whole
/// stack per request.
pub(super) struct Dispatch<S> {
    service: RefCell<S>,
    shared: Arc<Shared>,
    info: ConnInfo,
    peer: PeerHandle,
    /// A peer without an identity at a server that has one: what it says of the mesh is not heard.
    stranger: bool,
    /// What a client outside the mesh was shown.
    served: Option<Arc<Served>>,
    /// Where plaintext comes from, if the policy chose this connection's protocol.
    source: Option<Arc<Source>>,
    stamp: RefCell<LastStamp>,
    line: Option<Line<Wire>>,
    phase: Phase,
}

/// What HTTP/1 is read from.
pub(super) type Wire = Lingering<Rewind<BoxIo>>;

/// What requests are given to: it always answers.
pub(super) trait Answers:
    Service<
        Request<MeshBody>,
        Response = Response<MeshBody>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

pin_project! {
    /// Future of [`Dispatch`].
    pub(super) struct DispatchFuture<F> {
        #[pin]
        inner: Option<F>,
        refused: Option<Response<MeshBody>>,
        busy: Option<BusyGuard<Wire>>,
        line: Option<Line<Wire>>,
        phase: Phase,
        asked: Asked,
        connect: bool,
        // The answer goes outside the mesh.
        outside: bool,
        // The client reads trailers.
        trailers: bool,
        // Of a request whose body waits to be asked for.
        expects: Option<Expectation>,
    }
}

/// Whether the answer turns the connection into a tunnel.
fn is_tunnel(status: StatusCode, connect: bool) -> bool {
    status == StatusCode::SWITCHING_PROTOCOLS || (connect && status.is_success())
}

impl<S> Answers for S where
    S: Service<
            Request<MeshBody>,
            Response = Response<MeshBody>,
            Error = Infallible,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static
{
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

impl<S> Dispatch<S> {
    pub(super) fn new(
        shared: &Arc<Shared>,
        service: S,
        info: ConnInfo,
        source: Option<Arc<Source>>,
        served: Option<Arc<Served>>,
        line: Option<Line<Wire>>,
        phase: Phase,
    ) -> Self {
        Self {
            stranger: info.peer.is_none() && shared.credentials.has_identity(),
            source,
            served,
            stamp: RefCell::default(),
            service: RefCell::new(service),
            peer: PeerHandle(shared.stats.peer(info.peer.as_ref())),
            shared: shared.clone(),
            info,
            line,
            phase,
        }
    }
}

impl<S: Answers> hyper::service::Service<Request<Incoming>> for Dispatch<S> {
    type Response = Response<MeshBody>;
    /// Only of the connection: the stack always answers.
    type Error = io::Error;
    type Future = DispatchFuture<S::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let version = request.version();
        let mut future = DispatchFuture {
            inner: None,
            refused: None,
            busy: self.line.as_ref().map(Line::enter),
            line: self.line.clone(),
            phase: self.phase.clone(),
            asked: Asked {
                version,
                head: request.method() == Method::HEAD,
                upgradable: false,
            },
            connect: request.method() == Method::CONNECT,
            outside: self.shared.edge.is_some(),
            trailers: false,
            expects: None,
        };
        let framed = match version < Version::HTTP_2 && !request.body().is_end_stream() {
            true => admit::framing(request.headers()),
            false => Ok(()),
        };
        let admitted = framed
            .and_then(|()| admit::request(&mut request, self.shared.form, &self.shared.limits));
        let admitted = match (&self.shared.edge, admitted) {
            (None, admitted) => admitted,
            (Some(edge), Ok(())) => edge.admit(&mut request, self.served.as_ref(), &self.info),
            (Some(edge), Err(status)) => {
                edge.malformed(&request, &self.info, status);
                Err(status)
            }
        };
        if let Err(status) = admitted {
            future.refused = Some(refusal(status, version));
            return future;
        }
        future.asked.upgradable = admit::is_upgradable(&request);
        future.trailers = find(request.headers(), &header::TE).is_some();
        if self.line.is_some() && expect::is_expected(&request) {
            let expects = Expectation::default();
            request.extensions_mut().insert(expects.clone());
            future.expects = Some(expects);
        }
        let body = |frames| match &self.line {
            Some(line) => MeshBody::request(frames, line.reading()),
            None => MeshBody::incoming(frames),
        };
        if self.shared.form == Form::Proxy {
            // The application's own: nobody asks who it is, and it is counted by where it goes.
            let request = request.map(body);
            future.inner = Some(self.service.borrow_mut().call(request));
            return future;
        }
        if self.stranger {
            request.headers_mut().remove(metadata::ROUTED);
            request.headers_mut().remove(metadata::MIRROR);
        }
        let verified = self.info.peer.is_some();
        forwarded::scrub(request.headers_mut(), verified);
        if self.shared.forwarded {
            let sender = Sender {
                remote: self.info.remote,
                tls: self.info.tls,
            };
            let uri = std::mem::take(request.uri_mut());
            forwarded::append(request.headers_mut(), sender, &uri, version);
            *request.uri_mut() = uri;
        }
        if let Some(source) = &self.source {
            source.called();
        }
        if !future.outside {
            let stamps = self.peer.0.stamps();
            stamps.count(request.headers(), &mut self.stamp.borrow_mut());
        }
        let extensions = request.extensions_mut();
        extensions.insert(self.info.clone());
        extensions.insert(self.peer.clone());
        future.inner = Some(self.service.borrow_mut().call(request.map(body)));
        future
    }
}

// === impl DispatchFuture ===

impl<F> Future for DispatchFuture<F>
where
    F: Future<Output = Result<Response<MeshBody>, Infallible>>,
{
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
            if this.expects.as_ref().is_some_and(Expectation::is_open) {
                *this.expects = None;
            }
            if let Some(line) = this.line {
                if this.expects.is_none() && line.reading().load(Relaxed) {
                    return Poll::Pending;
                }
                let broken = line.poll_broken(cx);
                if let Some(expects) = this.expects
                    && line.has_more()
                {
                    expects.open();
                    *this.expects = None;
                }
                let error = ready!(broken);
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
        if *this.outside {
            response = Edge::clean(response);
        }
        admit::response(&mut response, *this.asked);
        if this.asked.upgradable
            && let Some(line) = this.line
            && is_tunnel(response.status(), *this.connect)
        {
            line.stop_lingering();
            line.unbound(Tunnel::begin(&mut response));
        } else if this.asked.version < Version::HTTP_2 && this.phase.is_closing() {
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if this.asked.version < Version::HTTP_2 && !is_buffered(response.body()) {
            let (head, body) = response.into_parts();
            let body = body.for_http1(&head.headers, *this.trailers);
            response = Response::from_parts(head, body);
        }
        if let Some(busy) = this.busy.take()
            && !is_buffered(response.body())
        {
            let line = this.line.take().filter(|_| is_endless(response.headers()));
            response = response.map(|body| {
                let body = body.with_guard(busy);
                match line {
                    Some(line) => MeshBody::new(Endless::new(body, line)),
                    None => body,
                }
            });
        }
        Poll::Ready(Ok(response))
    }
}
