use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::ResponseFuture;
use crate::{
    body::MeshBody,
    stack::{Describe, is_grpc},
};

/// Service of [`CatchPanicLayer`](super::CatchPanicLayer).
#[derive(Clone, Debug)]
pub struct CatchPanic<S> {
    pub(super) inner: S,
}

// === impl CatchPanic ===

impl<S, B> Service<Request<B>> for CatchPanic<S>
where
    S: Service<Request<B>, Response = Response<MeshBody>>,
{
    type Response = Response<MeshBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let grpc = is_grpc(request.headers());
        // The state of a request that panicked is dropped with it and never looked at again; what
        // handlers share between requests poisons itself, as it would on a thread of its own.
        match catch_unwind(AssertUnwindSafe(|| self.inner.call(request))) {
            Ok(future) => ResponseFuture::new(future, grpc),
            Err(payload) => ResponseFuture::panicked(payload, grpc),
        }
    }
}

impl<S: Describe> Describe for CatchPanic<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("catch_panic");
        self.inner.describe(into);
    }
}
