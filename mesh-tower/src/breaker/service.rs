use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use mesh_core::breaker::{Breaker, Open};
use mesh_core::error::{ErrorKind, Flags, MeshError};
use mesh_core::telemetry::names;
use tower_service::Service;

use super::BreakerFuture;
use super::recording::Recording;
use crate::BoxError;
use crate::body::MeshBody;
use crate::context::CallContext;
use crate::runtime;
use crate::stack::{Describe, into_mesh_error, is_grpc};

/// The service of [`BreakerLayer`](super::BreakerLayer).
#[derive(Clone, Debug)]
pub struct BreakerService<S> {
    inner: S,
    fixed: Option<Arc<Breaker>>,
}

/// While the calls that are let through have not ended, nobody knows when others may pass.
const SOON: Duration = Duration::from_secs(1);

// === impl BreakerService ===

impl<S> BreakerService<S> {
    pub(super) fn new(inner: S, fixed: Option<Arc<Breaker>>) -> Self {
        Self { inner, fixed }
    }
}

impl<S: Describe> Describe for BreakerService<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("breaker");
        self.inner.describe(into);
    }
}

impl<S, B, R> Service<Request<B>> for BreakerService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    B: 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = BreakerFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        self.inner.poll_ready(cx).map_err(into_mesh_error)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let call = CallContext::get(&request);
        let chosen = call.and_then(CallContext::chosen);
        let own = chosen.and_then(|chosen| chosen.backend.breaker());
        let Some(breaker) = self.fixed.as_ref().or(own) else {
            return BreakerFuture::unwatched(self.inner.call(request));
        };
        let now = call.map_or_else(runtime::now, CallContext::now);
        match breaker.admit(now) {
            Ok(permit) => {
                let grpc = call.map_or_else(|| is_grpc(request.headers()), CallContext::is_grpc);
                let recording = Recording::new(permit, call.cloned(), now, grpc);
                BreakerFuture::watched(self.inner.call(request), recording)
            }
            Err(open) => {
                let mut error = refused(open);
                if let Some(chosen) = chosen {
                    chosen.backend.count(names::BREAKER_REFUSED, "");
                    error = error.with_service(chosen.service.name());
                }
                BreakerFuture::refused(error)
            }
        }
    }
}

pub(crate) fn refused(open: Open) -> MeshError {
    let (message, wait) = match open.retry_after {
        Duration::ZERO => (
            "the breaker is half open: a few calls are tried before others".to_owned(),
            SOON,
        ),
        left => (
            format!(
                "the breaker is open for another {left:.1?}: too many calls failed or were slow"
            ),
            left,
        ),
    };
    // Never sent, but another attempt would meet the same breaker.
    let flags = Flags {
        never_sent: true,
        non_retryable: true,
        ..Flags::default()
    };
    MeshError::new(ErrorKind::BreakerOpen, message)
        .with_flags(flags)
        .with_retry_after(wait)
}
