//! Counts each request once, when its answer has ended, by who asked and what came of it.
//!
//! A gRPC answer has its status in the trailers, and any answer may break off half way: so a
//! streaming body is followed to its end, while an answer that is complete in memory is counted
//! at once.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use mesh_core::{
    classify::{self, Class, FailureKind},
    context::RequestContext,
    error::{Code, ErrorKind, MeshError},
    metadata,
};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    BoxError,
    body::{MeshBody, forward_size},
    catch_panic::unwinding,
    report::{InboundStats, Outcome, PeerStats, Status},
    runtime,
    server::is_buffered,
    stack::{Describe, is_grpc},
    telemetry::{GaugeGuard, Recorder},
};

/// Counts requests by their peer.
#[derive(Clone, Debug)]
pub struct InboundMetricsLayer {
    stats: InboundStats,
}

/// Service of [`InboundMetricsLayer`].
#[derive(Clone, Debug)]
pub struct InboundMetrics<S> {
    inner: S,
    stats: InboundStats,
}

/// The counts of the peer of a connection: saves the look-up per request.
#[derive(Clone)]
pub(crate) struct PeerHandle(pub(crate) Arc<PeerStats>);

pin_project! {
    /// Future of [`InboundMetrics`].
    pub struct InboundMetricsFuture<F> {
        #[pin]
        inner: F,
        record: Option<Record>,
    }
}

pin_project! {
    struct Observed {
        #[pin]
        inner: MeshBody,
        record: Option<Record>,
    }
}

/// One request: counted when it is finished, or as cancelled when it is dropped before.
struct Record {
    peer: Arc<PeerStats>,
    _in_flight: GaugeGuard,
    start: Instant,
    grpc: bool,
    /// What is known of the outcome so far.
    outcome: Option<Outcome>,
    done: bool,
}

// === impl InboundMetricsLayer ===

impl InboundMetricsLayer {
    /// Counts into `recorder`.
    pub fn new(recorder: &Recorder) -> Self {
        Self::with_stats(InboundStats::new(recorder))
    }

    pub(crate) fn with_stats(stats: InboundStats) -> Self {
        Self { stats }
    }
}

impl<S> Layer<S> for InboundMetricsLayer {
    type Service = InboundMetrics<S>;

    fn layer(&self, inner: S) -> InboundMetrics<S> {
        InboundMetrics {
            inner,
            stats: self.stats.clone(),
        }
    }
}

// === impl InboundMetrics ===

impl<S, B> Service<Request<B>> for InboundMetrics<S>
where
    S: Service<Request<B>, Response = Response<MeshBody>>,
{
    type Response = Response<MeshBody>;
    type Error = S::Error;
    type Future = InboundMetricsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let peer = match request.extensions().get::<PeerHandle>() {
            Some(handle) => handle.0.clone(),
            None => {
                let context = request.extensions().get::<RequestContext>();
                let peer = self
                    .stats
                    .peer(context.and_then(|context| context.peer.as_ref()));
                request.extensions_mut().insert(PeerHandle(peer.clone()));
                peer
            }
        };
        if !request.headers().contains_key(metadata::ROUTED) {
            peer.unrouted();
        }
        let record = Record {
            peer,
            _in_flight: self.stats.enter(),
            start: runtime::now(),
            grpc: is_grpc(request.headers()),
            outcome: None,
            done: false,
        };
        InboundMetricsFuture {
            inner: self.inner.call(request),
            record: Some(record),
        }
    }
}

impl<S: Describe> Describe for InboundMetrics<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("metrics");
        self.inner.describe(into);
    }
}

// === impl InboundMetricsFuture ===

impl<F, E> Future for InboundMetricsFuture<F>
where
    F: Future<Output = Result<Response<MeshBody>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        let Some(mut record) = this.record.take() else {
            return Poll::Ready(result);
        };
        Poll::Ready(result.map(|response| {
            record.answered(&response);
            if is_buffered(response.body()) {
                return response;
            }
            response.map(|inner| {
                MeshBody::new(Observed {
                    inner,
                    record: Some(record),
                })
            })
        }))
    }
}

// === impl Observed ===

impl Body for Observed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        if let Some(record) = this.record {
            match &frame {
                Some(Ok(frame)) => {
                    if let Some(trailers) = frame.trailers_ref() {
                        record.trailers(trailers);
                    }
                    if frame.is_trailers() || this.inner.is_end_stream() {
                        record.complete();
                        *this.record = None;
                    }
                }
                Some(Err(_)) => {
                    record.broken();
                    *this.record = None;
                }
                None => {
                    record.complete();
                    *this.record = None;
                }
            }
        }
        Poll::Ready(frame)
    }

    forward_size!(inner);
}

// === impl Record ===

impl Record {
    fn answered(&mut self, response: &Response<MeshBody>) {
        self.peer
            .answered(runtime::now().saturating_duration_since(self.start));
        let grpc = self.grpc && response.status() == StatusCode::OK;
        let status = match classify::grpc::status(response.headers()) {
            Some(code) if grpc => Some(Status::Grpc(code)),
            // The status comes in the trailers.
            None if grpc => None,
            _ => Some(Status::Http(response.status().as_u16())),
        };
        let error = response
            .extensions()
            .get::<MeshError>()
            .map(|error| (error.kind(), error.code()));
        let class = match (error, status) {
            (Some((ErrorKind::Denied | ErrorKind::NoRoute, _)), _) => Class::ClientError,
            (Some((ErrorKind::Internal, _)), _) => Class::Failure(FailureKind::Server),
            (Some((kind, _)), _) => classify::error(&MeshError::new(kind, "")),
            (None, Some(Status::Grpc(code))) => classify::grpc(code),
            (None, _) => classify::http(response.status(), response.headers()),
        };
        self.outcome = Some(Outcome {
            class,
            status,
            error,
        });
        if is_buffered(response.body()) {
            self.complete();
        }
    }

    fn trailers(&mut self, trailers: &http::HeaderMap) {
        if self.grpc
            && let Some(code) = classify::grpc::status(trailers)
            && let Some(outcome) = &mut self.outcome
        {
            outcome.status = Some(Status::Grpc(code));
            outcome.class = classify::grpc(code);
        }
    }

    /// The body ended as it should.
    fn complete(&mut self) {
        if let Some(mut outcome) = self.outcome.take() {
            if outcome.status.is_none() {
                // A gRPC answer without a status is a broken one.
                outcome.status = Some(Status::Grpc(2));
                outcome.class = Class::Failure(FailureKind::Server);
            }
            self.finish(outcome);
        }
    }

    /// The body broke off.
    fn broken(&mut self) {
        if let Some(mut outcome) = self.outcome.take() {
            outcome.class = Class::Failure(FailureKind::Transport);
            self.finish(outcome);
        }
    }

    fn finish(&mut self, outcome: Outcome) {
        self.peer.record(outcome);
        self.done = true;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let outcome = if unwinding() {
            Outcome {
                class: Class::Failure(FailureKind::Server),
                status: Some(Status::Http(500)),
                error: Some((ErrorKind::Internal, Code::INTERNAL)),
            }
        } else {
            Outcome {
                class: Class::Cancelled,
                status: self.outcome.and_then(|outcome| outcome.status),
                error: None,
            }
        };
        self.peer.record(outcome);
    }
}
