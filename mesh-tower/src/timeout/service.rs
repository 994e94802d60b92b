use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::TimeoutFuture;
use super::future::Cause;
use crate::BoxError;
use crate::context::CallContext;
use crate::runtime;
use crate::stack::{Describe, into_mesh_error};

/// Fails a call with a timeout when no response headers came in time.
#[derive(Clone, Copy, Debug)]
pub struct TimeoutLayer {
    limit: Limit,
}

/// The service of [`TimeoutLayer`].
#[derive(Clone, Debug)]
pub struct TimeoutService<S> {
    inner: S,
    limit: Limit,
}

#[derive(Clone, Copy, Debug)]
enum Limit {
    Fixed(Duration),
    Call,
    Attempt,
}

// === impl TimeoutLayer ===

impl TimeoutLayer {
    /// A fixed time from the start of each call.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit: Limit::Fixed(limit),
        }
    }

    /// The deadline of the call, as the layers above have set it.
    pub fn call() -> Self {
        Self { limit: Limit::Call }
    }

    /// The route's limit on one attempt; none if the route has none.
    pub fn attempt() -> Self {
        Self {
            limit: Limit::Attempt,
        }
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = TimeoutService<S>;

    fn layer(&self, inner: S) -> TimeoutService<S> {
        TimeoutService {
            inner,
            limit: self.limit,
        }
    }
}

// === impl TimeoutService ===

impl<S: Describe> Describe for TimeoutService<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push(match self.limit {
            Limit::Attempt => "attempt_timeout",
            Limit::Fixed(_) | Limit::Call => "timeout",
        });
        self.inner.describe(into);
    }
}

impl Limit {
    fn at<B: 'static>(self, request: &Request<B>) -> Option<(Instant, Cause)> {
        match self {
            Self::Fixed(limit) => {
                let at = runtime::now().checked_add(limit)?;
                Some((at, Cause::Fixed { limit }))
            }
            Self::Call => {
                let call = CallContext::get(request)?;
                Some((call.deadline()?, Cause::Call { call: call.clone() }))
            }
            Self::Attempt => {
                let call = CallContext::get(request)?;
                let limit = call.chosen()?.route.as_ref()?.timeouts().attempt()?;
                let at = call.now().checked_add(limit)?;
                let call = call.clone();
                Some((at, Cause::Attempt { limit, call }))
            }
        }
    }
}

impl<S, B> Service<Request<B>> for TimeoutService<S>
where
    S: Service<Request<B>>,
    B: 'static,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = mesh_core::error::MeshError;
    type Future = TimeoutFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(into_mesh_error)
    }

    #[inline(always)]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let limit = self.limit.at(&request);
        TimeoutFuture::new(self.inner.call(request), limit)
    }
}
