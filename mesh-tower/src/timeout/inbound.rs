//! A bound on the callee's own account: how long the application may take to answer.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use http::{Request, Response};
use mesh_core::{
    context::{BodyClock, RequestContext},
    error::{ErrorKind, MeshError},
    policy::InboundTraffic,
};
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_layer::Layer;
use tower_service::Service;

use super::poll_over;
use crate::{
    BoxError,
    body::MeshBody,
    runtime,
    stack::{Describe, into_mesh_error},
    traffic::Follow,
};

/// Bounds the time from the last piece of the request to the head of the answer. A body may take longer: the
/// caller's deadline bounds that.
#[derive(Clone, Debug)]
pub struct InboundTimeoutLayer {
    own: Option<Duration>,
    traffic: Follow,
}

/// Service of [`InboundTimeoutLayer`].
#[derive(Clone, Debug)]
pub struct InboundTimeout<S> {
    inner: S,
    layer: InboundTimeoutLayer,
}

pin_project! {
    /// Future of [`InboundTimeout`].
    pub struct InboundTimeoutFuture<F> {
        #[pin]
        inner: F,
        #[pin]
        sleep: Option<Sleep>,
        bound: Option<Bound>,
    }
}

/// How long the application may take.
struct Bound {
    began: Instant,
    limit: Duration,
    body: BodyClock,
}

// === impl Bound ===

impl Bound {
    fn left(&self, now: Instant) -> Duration {
        let limit = self.body.moved(self.began).saturating_add(self.limit);
        limit.saturating_sub(now.saturating_duration_since(self.began))
    }
}

// === impl InboundTimeoutLayer ===

impl InboundTimeoutLayer {
    /// With `None` nothing is bounded.
    pub fn new(limit: Option<Duration>) -> Self {
        Self::follow(limit, Follow::fixed(InboundTraffic::default()))
    }

    /// As the policy says; where it says nothing, `own`.
    pub(crate) fn follow(own: Option<Duration>, traffic: Follow) -> Self {
        Self { own, traffic }
    }
}

impl<S> Layer<S> for InboundTimeoutLayer {
    type Service = InboundTimeout<S>;

    fn layer(&self, inner: S) -> InboundTimeout<S> {
        InboundTimeout {
            inner,
            layer: self.clone(),
        }
    }
}

// === impl InboundTimeout ===

impl<S, B> Service<Request<B>> for InboundTimeout<S>
where
    S: Service<Request<B>, Response = Response<MeshBody>>,
    S::Error: Into<BoxError>,
{
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = InboundTimeoutFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        self.inner.poll_ready(cx).map_err(into_mesh_error)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let InboundTimeoutLayer { own, traffic } = &mut self.layer;
        let bound = traffic.now().timeout().or(*own).map(|limit| {
            let context = request.extensions().get::<RequestContext>();
            Bound {
                began: runtime::now(),
                limit,
                body: context.map_or_else(BodyClock::default, |context| context.body.clone()),
            }
        });
        InboundTimeoutFuture {
            inner: self.inner.call(request),
            sleep: bound.as_ref().map(|bound| tokio::time::sleep(bound.limit)),
            bound,
        }
    }
}

impl<S: Describe> Describe for InboundTimeout<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("timeout");
        self.inner.describe(into);
    }
}

// === impl InboundTimeoutFuture ===

impl<F, E> Future for InboundTimeoutFuture<F>
where
    F: Future<Output = Result<Response<MeshBody>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<MeshBody>, MeshError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(result) = this.inner.poll(cx) {
            return Poll::Ready(result.map_err(into_mesh_error));
        }
        let (Some(sleep), Some(bound)) = (this.sleep.as_pin_mut(), this.bound) else {
            return Poll::Pending;
        };
        ready!(poll_over(sleep, cx, |now| bound.left(now)));
        let what = format!("the application gave no answer within {:?}", bound.limit);
        Poll::Ready(Err(MeshError::new(ErrorKind::Deadline, what)))
    }
}
