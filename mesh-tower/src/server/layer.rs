use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::stack::{Parts, Stack};
use crate::{BoxError, body::MeshBody, stack::Describe};

/// The inbound stack for those who keep their own server: hyper, `axum::serve`, tonic's.
///
/// Everything but sockets: panics, context, metrics, access log, deadlines, health, access policy,
/// limits. The peer's identity is not known then, unless the server puts a
/// [`ConnInfo`](crate::transport::ConnInfo) into the request's extensions; an enforced access
/// policy denies who is not known.
#[derive(Clone, Debug)]
pub struct ServerLayer {
    parts: Arc<Parts>,
}

/// Service of [`ServerLayer`]: never fails.
#[derive(Clone, Debug)]
pub struct ServerService<S> {
    stack: Stack<S>,
}

// === impl ServerLayer ===

impl ServerLayer {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            parts: parts.shared(),
        }
    }
}

impl<S> Layer<S> for ServerLayer {
    type Service = ServerService<S>;

    fn layer(&self, inner: S) -> ServerService<S> {
        ServerService {
            stack: self.parts.wrap(inner),
        }
    }
}

// === impl ServerService ===

impl<S> ServerService<S> {
    /// The layers as built, outermost first.
    pub fn describe(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        self.stack.describe(&mut names);
        names
    }
}

impl<S, B, R> Service<Request<B>> for ServerService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    B: 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<MeshBody>;
    type Error = Infallible;
    type Future = <Stack<S> as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.stack.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.stack.call(request)
    }
}
