//! An error of the mesh becomes an answer: HTTP or gRPC, with its code.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use mesh_core::{
    context::RequestContext,
    error::{ErrorKind, Flags, MeshError},
    metadata,
};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    BoxError,
    body::MeshBody,
    stack::{Describe, into_mesh_error, is_grpc},
};

/// Answers requests whose inner service failed.
#[derive(Clone, Copy, Debug, Default)]
pub struct InboundRescueLayer(());

/// Service of [`InboundRescueLayer`]: never fails.
#[derive(Clone, Debug)]
pub struct InboundRescue<S> {
    inner: S,
}

pin_project! {
    /// Future of [`InboundRescue`].
    pub struct InboundRescueFuture<F> {
        #[pin]
        inner: F,
        grpc: bool,
        reveal: bool,
    }
}

/// Whether a request came from a peer of the mesh: only such a peer is told codes.
pub(crate) fn is_mesh_peer<B>(request: &Request<B>) -> bool {
    let identified = request
        .extensions()
        .get::<RequestContext>()
        .is_some_and(|context| context.peer.is_some());
    identified || request.headers().contains_key(metadata::ROUTED)
}

/// What a proxy answers its application for an HTTP call that failed: the status of the error's kind,
/// `mesh-reason` with its code, and its one line as the body.
pub fn http_answer(error: &MeshError) -> Response<MeshBody> {
    answer(error, false, true)
}

/// What became of a request that is answered with a failure.
fn outcome(flags: Flags) -> Option<HeaderValue> {
    match flags {
        flags if flags.non_retryable => None,
        flags if flags.never_sent => Some(metadata::UNREACHED),
        flags if flags.refused => Some(metadata::UNPROCESSED),
        flags if flags.broken => Some(metadata::BROKEN),
        _ => None,
    }
}

/// The answer to a request that failed in the mesh. With `reveal` it says why.
pub(crate) fn answer(error: &MeshError, grpc: bool, reveal: bool) -> Response<MeshBody> {
    let message = match error.kind() {
        // The rule that refused is nobody's business but the server's.
        ErrorKind::Denied => format!("denied [{}]", error.code()),
        // The text of an internal error may come from the application.
        ErrorKind::Internal if reveal => format!("internal error [{}]", error.code()),
        _ if reveal => error.to_string(),
        _ => error
            .http_status()
            .canonical_reason()
            .unwrap_or("error")
            .to_ascii_lowercase(),
    };
    let mut response = if grpc {
        let mut response = Response::new(MeshBody::empty());
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/grpc"),
        );
        headers.insert(metadata::GRPC_STATUS, HeaderValue::from(error.grpc_code()));
        if let Ok(message) = HeaderValue::from_str(&percent_encode(&message)) {
            headers.insert(metadata::GRPC_MESSAGE, message);
        }
        response
    } else {
        let mut response = Response::new(MeshBody::full(message + "\n"));
        *response.status_mut() = error.http_status();
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        response
    };
    if reveal && let Ok(code) = HeaderValue::from_str(&error.code().to_string()) {
        response.headers_mut().insert(metadata::REASON, code);
    }
    let headers = response.headers_mut();
    // Chain stop: what failed below is not to be tried again above.
    let never = reveal && error.flags().non_retryable;
    if never && grpc {
        headers.insert(metadata::RETRY_PUSHBACK_MS, HeaderValue::from_static("-1"));
    } else if never {
        headers.insert(metadata::RETRIED, HeaderValue::from_static("1"));
    }
    if let Some(wait) = error.retry_after() {
        if !grpc {
            headers.insert(
                header::RETRY_AFTER,
                HeaderValue::from(wait.as_nanos().div_ceil(1_000_000_000).max(1) as u64),
            );
        } else if !never {
            // Rounded up: who waits as told must not come too early.
            let millis = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
            headers.insert(metadata::RETRY_PUSHBACK_MS, HeaderValue::from(millis));
        }
    }
    response.extensions_mut().insert(error.clone());
    response
}

/// An answer to a request that broke the rules of HTTP; the connection is closed after it.
pub(crate) fn refusal(status: StatusCode, version: Version) -> Response<MeshBody> {
    let reason = status
        .canonical_reason()
        .unwrap_or("refused")
        .to_ascii_lowercase();
    let mut response = Response::new(MeshBody::full(reason + "\n"));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    if version < Version::HTTP_2 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// grpc-message's encoding (gRPC over HTTP/2, "Responses").
fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (0x20..=0x7e).contains(&byte) && byte != b'%' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

// === impl InboundRescueLayer ===

impl InboundRescueLayer {
    /// The layer has no settings.
    pub const fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for InboundRescueLayer {
    type Service = InboundRescue<S>;

    fn layer(&self, inner: S) -> InboundRescue<S> {
        InboundRescue { inner }
    }
}

// === impl InboundRescue ===

impl<S, B> Service<Request<B>> for InboundRescue<S>
where
    S: Service<Request<B>, Response = Response<MeshBody>>,
    S::Error: Into<BoxError>,
{
    type Response = Response<MeshBody>;
    type Error = Infallible;
    type Future = InboundRescueFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // A service that failed for good says so again in its call, where there is an answer.
        let _ = ready!(self.inner.poll_ready(cx));
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        InboundRescueFuture {
            grpc: is_grpc(request.headers()),
            reveal: is_mesh_peer(&request),
            inner: self.inner.call(request),
        }
    }
}

impl<S: Describe> Describe for InboundRescue<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("rescue");
        self.inner.describe(into);
    }
}

// === impl InboundRescueFuture ===

impl<F, E> Future for InboundRescueFuture<F>
where
    F: Future<Output = Result<Response<MeshBody>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<MeshBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(Ok(match ready!(this.inner.poll(cx)) {
            Ok(response) => response,
            Err(error) => {
                let error = into_mesh_error(error);
                if error.kind() == ErrorKind::Internal {
                    tracing::warn!(target: "mesh::server", "{error:#}");
                }
                let mut answer = answer(&error, *this.grpc, *this.reveal);
                if *this.reveal
                    && let Some(outcome) = outcome(error.flags())
                {
                    answer.headers_mut().insert(metadata::OUTCOME, outcome);
                }
                answer
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_answer_is_trailers_only() {
        let error = MeshError::new(ErrorKind::Overloaded, "too many requests: 100% ü");
        let answer = answer(&error, true, true);
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["grpc-status"], "14");
        assert_eq!(answer.headers()["mesh-reason"], "M2014");
        assert_eq!(
            answer.headers()["grpc-message"],
            "too many requests: 100%25 %C3%BC [M2014]"
        );
    }

    #[test]
    fn a_stranger_is_told_no_code() {
        let error = MeshError::new(ErrorKind::NoEndpoints, "2 tried");
        let answer = answer(&error, false, false);
        assert_eq!(answer.status(), 503);
        assert!(!answer.headers().contains_key("mesh-reason"));
    }
}
