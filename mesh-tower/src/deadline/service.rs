use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{HeaderMap, Request};
use mesh_core::error::{ErrorKind, MeshError};
use mesh_core::{deadline, metadata};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::BoxError;
use crate::context::{self, CallContext};
use crate::headers::find;
use crate::stack::{Describe, into_mesh_error};

/// Gives each call its deadline: the inherited one or the default, whichever is earlier.
#[derive(Clone, Copy, Debug)]
pub struct DeadlineLayer {
    default: Duration,
}

/// The service of [`DeadlineLayer`].
#[derive(Clone, Debug)]
pub struct DeadlineService<S> {
    inner: S,
    default: Duration,
}

pin_project! {
    /// The future of [`DeadlineService`].
    #[derive(Debug)]
    pub struct DeadlineFuture<F> {
        #[pin]
        inner: Option<F>,
        expired: Option<MeshError>,
    }
}

// === impl DeadlineLayer ===

impl DeadlineLayer {
    /// `default` is the time that a call has when its caller says nothing.
    pub fn new(default: Duration) -> Self {
        Self { default }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = DeadlineService<S>;

    fn layer(&self, inner: S) -> DeadlineService<S> {
        DeadlineService {
            inner,
            default: self.default,
        }
    }
}

// === impl DeadlineService ===

impl<S: Describe> Describe for DeadlineService<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("deadline");
        self.inner.describe(into);
    }
}

impl<S, B> Service<Request<B>> for DeadlineService<S>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
    B: 'static,
{
    type Response = S::Response;
    type Error = MeshError;
    type Future = DeadlineFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        self.inner.poll_ready(cx).map_err(into_mesh_error)
    }

    #[inline(always)]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let call = CallContext::of(&mut request);
        let started = call.started();
        call.limit_to(self.default);
        if let Some(limit) = from_headers(call.is_grpc(), request.headers(), started) {
            call.limit_inherited(limit, call.is_grpc());
        }
        let inherited = context::with(|context| Some((context.held_to()?.at(), context.is_fixed)));
        if let Some((inherited, is_fixed)) = inherited.flatten() {
            // Read from the clock once, with the call.
            call.limit_inherited(deadline::inherit(inherited, call.now()), is_fixed);
            if inherited <= call.now() {
                let message = "the deadline inherited from the caller had passed before the call";
                let error = MeshError::new(ErrorKind::Deadline, message)
                    .with_note("caller", "deadline inherited from the request being served");
                return DeadlineFuture {
                    inner: None,
                    expired: Some(error),
                };
            }
        }
        DeadlineFuture {
            inner: Some(self.inner.call(request)),
            expired: None,
        }
    }
}

/// A limit that the application, or the proxy's caller, has put on this call itself.
fn from_headers(grpc: bool, headers: &HeaderMap, started: Instant) -> Option<Instant> {
    let left = if grpc {
        deadline::parse_grpc_timeout(find(headers, &metadata::GRPC_TIMEOUT)?.to_str().ok()?)
    } else {
        deadline::parse_timeout_ms(find(headers, &metadata::TIMEOUT_MS)?.to_str().ok()?)
    };
    started.checked_add(left?)
}

// === impl DeadlineFuture ===

impl<F, T, E> Future for DeadlineFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, MeshError>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.inner.as_pin_mut() {
            Some(inner) => inner.poll(cx).map_err(into_mesh_error),
            None => Poll::Ready(Err(this.expired.take().unwrap_or_else(|| {
                MeshError::new(ErrorKind::Deadline, "polled after it was done")
            }))),
        }
    }
}
