//! Polls the handler, and the body of its answer, inside the request's context: a call that the
//! handler makes inherits deadline, trace, criticality and attempt without any work.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame};
use mesh_core::{
    classify,
    context::RequestContext,
    error::{ErrorKind, Flags, MeshError},
    metadata,
};
use pin_project_lite::pin_project;
use tokio::task::futures::TaskLocalFuture;
use tower_layer::Layer;
use tower_service::Service;

use super::util::{as_mesh_body, is_buffered};
use crate::{
    BoxError,
    body::{MeshBody, forward_size},
    context,
    rescue::inbound::is_mesh_peer,
    retry::push_back,
    stack::{Describe, into_mesh_error, is_grpc},
    upgrade::{Lasting, Life},
};

/// Sets the task's context to that of the request.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScopeLayer(());

/// Service of [`ScopeLayer`]. The innermost of the stack: below it are only the user's layers.
#[derive(Clone, Debug)]
pub struct Scope<S> {
    inner: S,
}

pin_project! {
    /// Future of [`Scope`].
    pub struct ScopeFuture<F> {
        #[pin]
        state: State<F>,
        context: Option<RequestContext>,
        peer: Peer,
    }
}

/// What of the caller decides how it is told that a failure was tried again below.
#[derive(Clone, Copy)]
struct Peer {
    mesh: bool,
    grpc: bool,
}

pin_project! {
    #[project = ProjectedState]
    enum State<F> {
        Scoped { #[pin] inner: TaskLocalFuture<RequestContext, F> },
        Plain { #[pin] inner: F },
    }
}

pin_project! {
    struct ScopedBody<B> {
        #[pin]
        inner: B,
        context: RequestContext,
        peer: Peer,
    }
}

/// The error of a handler. Its flags are those of a call that the handler made, and its request did reach the handler:
/// only what passes the request itself to an application knows more.
///
/// `exhausted`: that call was tried again; the rescue layer tells a peer of the mesh.
fn of_handler(error: MeshError, exhausted: bool) -> MeshError {
    let passes = matches!(error.kind(), ErrorKind::Unreached | ErrorKind::Unanswered);
    let known = if passes {
        error.flags()
    } else {
        Flags::default()
    };
    let flags = Flags {
        non_retryable: exhausted || error.flags().non_retryable,
        ..known
    };
    error.with_flags(flags)
}

// === impl Peer ===

impl Peer {
    /// Marks a failed answer as one that is not to be tried again (chain stop), or takes the mark off
    /// for a caller that is no peer of the mesh: the handler may have copied it from an answer.
    fn mark(self, status: StatusCode, headers: &mut HeaderMap) {
        if !self.mesh {
            headers.remove(metadata::RETRIED);
            return;
        }
        if self.grpc {
            push_back(headers);
        } else if classify::http(status, headers).is_failure() {
            headers.insert(metadata::RETRIED, HeaderValue::from_static("1"));
        }
    }
}

// === impl ScopeLayer ===

impl ScopeLayer {
    /// The layer has no settings.
    pub const fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for ScopeLayer {
    type Service = Scope<S>;

    fn layer(&self, inner: S) -> Scope<S> {
        Scope { inner }
    }
}

// === impl Scope ===

impl<S, B, R> Service<Request<B>> for Scope<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = ScopeFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        self.inner.poll_ready(cx).map_err(into_mesh_error)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let peer = Peer {
            mesh: is_mesh_peer(&request),
            grpc: is_grpc(request.headers()),
        };
        let Some(context) = request.extensions().get::<RequestContext>().cloned() else {
            return ScopeFuture {
                state: State::Plain {
                    inner: self.inner.call(request),
                },
                context: None,
                peer,
            };
        };
        // A handler may already read its context while it makes its future.
        let future = context::sync_scope(context.clone(), || self.inner.call(request));
        ScopeFuture {
            state: State::Scoped {
                inner: context::scope(context.clone(), future),
            },
            context: Some(context),
            peer,
        }
    }
}

impl<S> Describe for Scope<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("service");
    }
}

// === impl ScopeFuture ===

impl<F, R, E> Future for ScopeFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
    E: Into<BoxError>,
{
    type Output = Result<Response<MeshBody>, MeshError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = match this.state.project() {
            ProjectedState::Scoped { inner } => ready!(inner.poll(cx)),
            ProjectedState::Plain { inner } => ready!(inner.poll(cx)),
        };
        let exhausted = this
            .context
            .as_ref()
            .is_some_and(|context| context.exhausted.get());
        let peer = *this.peer;
        let response = result.map_err(|error| of_handler(into_mesh_error(error), exhausted))?;
        let (mut head, body) = response.into_parts();
        // A handler that passes on an answer from below may have copied it.
        if head.status.as_u16() >= 400 || peer.grpc {
            head.headers.remove(metadata::OUTCOME);
        }
        if exhausted {
            peer.mark(head.status, &mut head.headers);
        }
        let body = match this.context.take() {
            _ if head.status == StatusCode::SWITCHING_PROTOCOLS => {
                // What the stack ties to the end of an answer is tied to that of the tunnel.
                let life = Life::default();
                let lasting = Lasting::new(&life, None);
                head.extensions.insert(life);
                MeshBody::lasting(lasting)
            }
            _ if body.is_end_stream() => MeshBody::empty(),
            None => MeshBody::new(body),
            Some(context) => {
                // Complete in memory already: polling it runs no code of the handler.
                match as_mesh_body(body) {
                    Ok(body) if is_buffered(&body) => body,
                    Ok(inner) => MeshBody::new(ScopedBody {
                        inner,
                        context,
                        peer,
                    }),
                    Err(inner) => MeshBody::new(ScopedBody {
                        inner,
                        context,
                        peer,
                    }),
                }
            }
        };
        Poll::Ready(Ok(Response::from_parts(head, body)))
    }
}

// === impl ScopedBody ===

impl<B> Body for ScopedBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        let inner = this.inner;
        let mut frame = context::sync_scope(this.context.clone(), || inner.poll_frame(cx));
        if this.context.exhausted.get()
            && let Poll::Ready(Some(Ok(frame))) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            this.peer.mark(StatusCode::OK, trailers);
        }
        frame.map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }

    forward_size!(inner);
}

/// Makes any service one whose answers have our body, so that it fits a seam.
#[derive(Clone)]
pub(super) struct Erase<S>(S);

pin_project! {
    pub(super) struct EraseFuture<F> {
        #[pin]
        inner: F,
    }
}

// === impl Erase ===

impl<S> Erase<S> {
    pub(super) fn new(service: S) -> Self {
        Self(service)
    }
}

impl<S, B, R> Service<Request<B>> for Erase<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<MeshBody>;
    type Error = S::Error;
    type Future = EraseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        EraseFuture {
            inner: self.0.call(request),
        }
    }
}

impl<F, R, E> Future for EraseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<MeshBody>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.project().inner.poll(cx))?;
        Poll::Ready(Ok(response.map(|body| {
            if body.is_end_stream() {
                MeshBody::empty()
            } else {
                MeshBody::new(body)
            }
        })))
    }
}
