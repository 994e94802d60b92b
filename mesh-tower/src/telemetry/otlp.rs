//! Export of spans over OTLP/gRPC. The only file that names OpenTelemetry types.
//!
//! Finished spans go straight to the SDK's batch processor as data: the SDK's own tracer would
//! choose its own ids, and ours are already on the wire.

mod carrier;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkError,
    trace::{BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor},
};

use self::carrier::Carrier;
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
    /// The collector has let a flush wait for all its time.
    stuck: AtomicBool,
    /// Below the processor: what that sends at its end is carried still.
    _carrier: Carrier,
}

// === impl Exporter ===

impl Exporter {
    pub(super) fn new(service: &str, endpoint: Option<&str>) -> Result<Self, BoxError> {
        let builder = SpanExporter::builder().with_tonic();
        let builder = match endpoint {
            Some(endpoint) => builder.with_endpoint(endpoint),
            None => builder,
        };
        let carrier = Carrier::start()?;
        let exporter = carrier.enter(|| builder.build())?;
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
            stuck: AtomicBool::new(false),
            _carrier: carrier,
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

    /// Blocks for as long as the collector lets it wait, at most 5 s.
    pub(super) fn flush(&self) {
        if let Err(error) = self.processor.force_flush() {
            let late = matches!(error, OTelSdkError::Timeout(_));
            self.stuck.store(late, Ordering::Relaxed);
            tracing::debug!(target: "mesh::telemetry", %error, "spans could not be exported");
        }
    }

    /// The same, without blocking, for at most [`SHUTDOWN`].
    pub(super) async fn flushed(self: &Arc<Self>) {
        let (done, wait) = tokio::sync::oneshot::channel::<()>();
        let this = self.clone();
        // Not one of the runtime's: it would wait for a collector that does not answer when it ends.
        let flush = move || {
            this.flush();
            drop(done);
        };
        let thread = std::thread::Builder::new().name("mesh-otlp-flush".into());
        if thread.spawn(flush).is_ok() && tokio::time::timeout(SHUTDOWN, wait).await.is_err() {
            self.stuck.store(true, Ordering::Relaxed);
        }
    }

    /// Sends what waits, once: a second try would be as long in vain.
    pub(super) fn end(&self) {
        if self.ended.swap(true, Ordering::Relaxed) {
            return;
        }
        let patience = match self.stuck.load(Ordering::Relaxed) {
            true => Duration::ZERO,
            false => SHUTDOWN,
        };
        let _ = self.processor.shutdown_with_timeout(patience);
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.end();
    }
}
