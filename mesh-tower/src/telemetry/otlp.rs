//! Export of spans over OTLP/gRPC. The only file that names OpenTelemetry types.
//!
//! Finished spans go straight to the SDK's batch processor as data: the SDK's own tracer would
//! choose its own ids, and ours are already on the wire.

use std::{
    borrow::Cow,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor},
};

use super::spans::{Open, Side};
use crate::BoxError;

/// How long leaving spans may hold up the end of a process.
const SHUTDOWN: Duration = Duration::from_secs(3);

/// The batch processor and what it says about this process.
#[derive(Debug)]
pub(crate) struct Exporter {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
    ended: AtomicBool,
}

// === impl Exporter ===

impl Exporter {
    pub(super) fn new(service: &str, endpoint: Option<&str>) -> Result<Self, BoxError> {
        let builder = SpanExporter::builder().with_tonic();
        let builder = match endpoint {
            Some(endpoint) => builder.with_endpoint(endpoint),
            None => builder,
        };
        let exporter = builder.build()?;
        let mut processor = BatchSpanProcessor::builder(exporter).build();
        // Detectors of the builder read OTEL_RESOURCE_ATTRIBUTES; OTEL_SERVICE_NAME still wins.
        let mut resource = Resource::builder();
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name(service.to_owned());
        }
        processor.set_resource(&resource.build());
        Ok(Self {
            processor,
            scope: InstrumentationScope::builder("mesh")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
            ended: AtomicBool::new(false),
        })
    }

    pub(super) fn export(&self, open: Open) {
        let attributes = open
            .fields
            .into_iter()
            .map(|(key, value)| match value {
                Cow::Borrowed(value) => KeyValue::new(key, value),
                Cow::Owned(value) => KeyValue::new(key, value),
            })
            .collect();
        self.processor.on_end(SpanData {
            span_context: SpanContext::new(
                TraceId::from_bytes(open.context.trace_id()),
                SpanId::from_bytes(open.context.span_id()),
                TraceFlags::new(open.context.flags()),
                false,
                TraceState::NONE,
            ),
            parent_span_id: SpanId::from_bytes(open.parent),
            parent_span_is_remote: open.remote_parent,
            span_kind: match open.side {
                Side::Server => SpanKind::Server,
                // The call is the client span of the trace; an attempt is what goes over the
                // wire, and its id is what the callee sees as parent.
                Side::Call => SpanKind::Internal,
                Side::Attempt => SpanKind::Client,
            },
            name: open.name,
            start_time: open.start,
            end_time: SystemTime::now(),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: match open.failure {
                Some(reason) => Status::error(reason),
                None => Status::Unset,
            },
            instrumentation_scope: self.scope.clone(),
        });
    }

    pub(super) fn flush(&self) {
        if let Err(error) = self.processor.force_flush() {
            tracing::debug!(target: "mesh::telemetry", %error, "spans could not be exported");
        }
    }
}

impl Exporter {
    /// Sends what waits, once: a second try would be as long in vain.
    pub(super) fn end(&self) {
        if !self.ended.swap(true, Ordering::Relaxed) {
            let _ = self.processor.shutdown_with_timeout(SHUTDOWN);
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{Arc, Mutex},
    };

    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, Request, Response};
    use http_body_util::{BodyExt, StreamBody};
    use hyper::body::{Frame, Incoming};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use mesh_core::context::TraceContext;

    use super::super::spans::{Side, Tracing};

    const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

    /// A collector: remembers what was posted and answers with an empty gRPC message.
    async fn collector() -> (String, Arc<Mutex<Vec<Bytes>>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let posted = Arc::<Mutex<Vec<Bytes>>>::default();
        let seen = posted.clone();
        tokio::spawn(async move {
            loop {
                let (io, _) = listener.accept().await.unwrap();
                let seen = seen.clone();
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    let seen = seen.clone();
                    async move {
                        assert_eq!(request.uri().path(), EXPORT);
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        seen.lock().unwrap().push(body);
                        let mut trailers = HeaderMap::new();
                        trailers.insert("grpc-status", HeaderValue::from_static("0"));
                        let frames = [
                            Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; 5]))),
                            Ok(Frame::trailers(trailers)),
                        ];
                        let body = StreamBody::new(futures_util::stream::iter(frames));
                        let answer = Response::builder().header("content-type", "application/grpc");
                        Ok::<_, Infallible>(answer.body(body).unwrap())
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(io), service),
                );
            }
        });
        (url, posted)
    }

    fn holds(all: &[Bytes], part: &[u8]) -> bool {
        all.iter()
            .any(|body| body.windows(part.len()).any(|window| window == part))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_span_reaches_a_collector_with_the_ids_of_the_wire() {
        let (url, posted) = collector().await;
        let tracing = Tracing::to_endpoint("shop/web", &url).unwrap();
        let context = TraceContext::from_ids([7; 16], [9; 8], 1).unwrap();
        let mut span = tracing.start(Side::Server, &context, Some([5; 8]), || {
            "GET /reviews".into()
        });
        span.set("http.request.method", || "GET".into());
        span.fail(|| "M2008".into());
        drop(span);
        // Not sampled by the caller: not exported.
        let quiet = TraceContext::from_ids([8; 16], [9; 8], 0).unwrap();
        drop(tracing.start(Side::Server, &quiet, None, || "GET /quiet".into()));

        let flushed = tracing.clone();
        tokio::task::spawn_blocking(move || flushed.flush())
            .await
            .unwrap();
        let all = posted.lock().unwrap().clone();
        for part in [
            &b"shop/web"[..],
            b"GET /reviews",
            b"M2008",
            &[7; 16],
            &[9; 8],
            &[5; 8],
        ] {
            assert!(holds(&all, part), "{part:?}");
        }
        assert!(!holds(&all, b"GET /quiet"));
        // Its end blocks too.
        tokio::task::spawn_blocking(move || drop(tracing))
            .await
            .unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_collector_that_is_away_hurts_nobody() {
        let tracing = Tracing::to_endpoint("shop/web", "http://127.0.0.1:1").unwrap();
        let context = TraceContext::from_ids([7; 16], [9; 8], 1).unwrap();
        drop(tracing.start(Side::Attempt, &context, None, || "reviews".into()));
        tokio::task::spawn_blocking(move || tracing.flush())
            .await
            .unwrap();
    }
}
