use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::{AccessLogFuture, line::Line};
use crate::{body::MeshBody, stack::Describe};

/// Service of [`AccessLogLayer`](super::AccessLogLayer).
#[derive(Clone, Debug)]
pub struct AccessLog<S> {
    pub(super) inner: S,
}

// === impl AccessLog ===

impl<S, B> Service<Request<B>> for AccessLog<S>
where
    S: Service<Request<B>, Response = Response<MeshBody>>,
{
    type Response = Response<MeshBody>;
    type Error = S::Error;
    type Future = AccessLogFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let line = Line::open(&request);
        AccessLogFuture {
            inner: self.inner.call(request),
            line,
        }
    }
}

impl<S: Describe> Describe for AccessLog<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("access_log");
        self.inner.describe(into);
    }
}
