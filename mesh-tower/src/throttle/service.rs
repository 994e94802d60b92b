use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use mesh_core::error::{ErrorKind, Flags, MeshError};
use mesh_core::overload::throttle::Throttle;
use mesh_core::policy::ThrottlePolicy;
use mesh_core::telemetry::names;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::Counted;
use crate::BoxError;
use crate::context::CallContext;
use crate::metrics::Ended;
use crate::runtime;
use crate::stack::{Describe, into_mesh_error, is_grpc};

/// A throttle is asked for anew each call; this is only so that callers do not come back at once.
const SOON: Duration = Duration::from_secs(1);

/// Holds calls back while most of them are refused. All services that one layer makes share it.
#[derive(Clone, Debug)]
pub struct ThrottleLayer {
    fixed: Option<Arc<Throttle>>,
}

/// The service of [`ThrottleLayer`].
#[derive(Clone, Debug)]
pub struct ThrottleService<S> {
    inner: S,
    fixed: Option<Arc<Throttle>>,
}

pin_project! {
    /// The future of [`ThrottleService`].
    pub struct ThrottleFuture<F> {
        #[pin]
        inner: Option<F>,
        refused: Option<MeshError>,
        counted: Option<Counted>,
        grpc: bool,
    }
}

// === impl ThrottleLayer ===

impl ThrottleLayer {
    /// A throttle of its own by `policy`.
    pub fn new(policy: &ThrottlePolicy) -> Self {
        Self {
            fixed: Some(Arc::new(Throttle::new(policy))),
        }
    }

    /// The throttle of the backend that the route chose, if it has one. Attempts are counted below.
    pub(crate) fn routed() -> Self {
        Self { fixed: None }
    }
}

impl<S> Layer<S> for ThrottleLayer {
    type Service = ThrottleService<S>;

    fn layer(&self, inner: S) -> ThrottleService<S> {
        ThrottleService {
            inner,
            fixed: self.fixed.clone(),
        }
    }
}

// === impl ThrottleService ===

impl<S: Describe> Describe for ThrottleService<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("throttle");
        self.inner.describe(into);
    }
}

impl<S, B, R> Service<Request<B>> for ThrottleService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    B: 'static,
{
    type Response = Response<R>;
    type Error = MeshError;
    type Future = ThrottleFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        self.inner.poll_ready(cx).map_err(into_mesh_error)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let call = CallContext::get(&request);
        let chosen = call.and_then(CallContext::chosen);
        let own = chosen.and_then(|chosen| chosen.backend.throttle());
        let mut counted = None;
        let mut grpc = false;
        if let Some(throttle) = self.fixed.as_ref().or(own) {
            let now = call.map_or_else(runtime::now, CallContext::now);
            let criticality = call.map(CallContext::criticality).unwrap_or_default();
            if throttle.holds_back(criticality, now, &mut fastrand::Rng::new()) {
                let mut error = held_back();
                if let Some(chosen) = chosen {
                    chosen.backend.count(names::THROTTLED, criticality.as_str());
                    error = error.with_service(chosen.service.name());
                }
                return ThrottleFuture {
                    inner: None,
                    refused: Some(error),
                    counted: None,
                    grpc,
                };
            }
            if self.fixed.is_some() {
                counted = Some(Counted::new(throttle, criticality, now));
                grpc = is_grpc(request.headers());
            }
        }
        ThrottleFuture {
            inner: Some(self.inner.call(request)),
            refused: None,
            counted,
            grpc,
        }
    }
}

fn held_back() -> MeshError {
    let flags = Flags {
        never_sent: true,
        non_retryable: true,
        ..Flags::default()
    };
    let message = "held back: the service refuses most of this client's calls as overload";
    MeshError::new(ErrorKind::Throttled, message)
        .with_flags(flags)
        .with_retry_after(SOON)
}

// === impl ThrottleFuture ===

impl<F, R, E> Future for ThrottleFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<R>, MeshError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            return Poll::Ready(Err(this.refused.take().unwrap_or_else(held_back)));
        };
        let result = ready!(inner.poll(cx)).map_err(into_mesh_error);
        if let Some(counted) = this.counted.take() {
            let ended = match &result {
                Ok(response) => Ended::head(*this.grpc, response),
                Err(error) => Some(Ended::error(error)),
            };
            if let Some(ended) = ended {
                counted.ended(ended.class, runtime::now());
            }
        }
        Poll::Ready(result)
    }
}

impl<F> std::fmt::Debug for ThrottleFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ThrottleFuture").finish_non_exhaustive()
    }
}
