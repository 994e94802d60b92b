//! Spans of requests, calls and attempts, handed to the OTLP exporter where there is one.
//!
//! The ids come from our own trace context, so a span that is exported carries the same ids as
//! the `traceparent` that went over the wire, and propagation works without any exporter.

use std::{borrow::Cow, sync::OnceLock, time::SystemTime};

use mesh_core::context::TraceContext;

use crate::BoxError;

/// Where finished spans go. Clones share one exporter.
#[derive(Clone, Default)]
pub struct Tracing {
    #[cfg(feature = "otlp")]
    exporter: Option<std::sync::Arc<super::otlp::Exporter>>,
}

/// Which side of a call a span describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// A request that this process answers.
    Server,
    /// A call that this process makes, all attempts together.
    Call,
    /// One attempt of a call.
    Attempt,
}

/// A span that is exported when it is dropped, unless its trace is not sampled.
#[must_use]
pub(crate) struct Span {
    open: Option<Box<Open>>,
}

/// What a finished span says.
#[cfg_attr(not(feature = "otlp"), allow(dead_code))]
pub(crate) struct Open {
    pub(super) tracing: Tracing,
    pub(super) context: TraceContext,
    pub(super) parent: [u8; 8],
    pub(super) remote_parent: bool,
    pub(super) side: Side,
    pub(super) name: Cow<'static, str>,
    pub(super) start: SystemTime,
    pub(super) fields: Vec<(&'static str, Cow<'static, str>)>,
    pub(super) failure: Option<Cow<'static, str>>,
}

/// How many of the traces that begin here are recorded, as `OTEL_TRACES_SAMPLER` and
/// `OTEL_TRACES_SAMPLER_ARG` say.
fn ratio() -> &'static f64 {
    static RATIO: OnceLock<f64> = OnceLock::new();
    RATIO.get_or_init(|| {
        let sampler = std::env::var("OTEL_TRACES_SAMPLER").unwrap_or_default();
        let share = std::env::var("OTEL_TRACES_SAMPLER_ARG").ok();
        share_of(&sampler, share.as_deref())
    })
}

fn share_of(sampler: &str, share: Option<&str>) -> f64 {
    match sampler.trim_start_matches("parentbased_") {
        "always_off" => 0.0,
        "traceidratio" => share.and_then(|share| share.parse().ok()).unwrap_or(1.0),
        // The specification's default is always_on; what is not known counts as not set.
        _ => 1.0,
    }
}

// === impl Tracing ===

impl Tracing {
    /// Exports nothing; trace context is still propagated.
    pub fn disabled() -> Self {
        Self::default()
    }

    /// An exporter over OTLP/gRPC as the `OTEL_*` environment says (`OTEL_EXPORTER_OTLP_ENDPOINT`,
    /// `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_BSP_*`, `OTEL_RESOURCE_ATTRIBUTES`), or none when no
    /// endpoint is named or `OTEL_SDK_DISABLED=true`.
    ///
    /// # Errors
    /// When the environment names an endpoint that is not a URL.
    #[cfg(feature = "otlp")]
    pub fn from_env(service: &str) -> Result<Self, BoxError> {
        let set = |name: &str| std::env::var(name).is_ok_and(|value| !value.trim().is_empty());
        let disabled =
            std::env::var("OTEL_SDK_DISABLED").is_ok_and(|v| v.eq_ignore_ascii_case("true"));
        let named = set("OTEL_EXPORTER_OTLP_ENDPOINT") || set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        let none = std::env::var("OTEL_TRACES_EXPORTER").is_ok_and(|v| v == "none");
        if disabled || none || !named {
            return Ok(Self::disabled());
        }
        Self::build(service, None)
    }

    /// An exporter to `endpoint` (`http://127.0.0.1:4317`), whatever the environment says of it.
    ///
    /// # Errors
    /// When `endpoint` is not a URL.
    #[cfg(feature = "otlp")]
    pub fn to_endpoint(service: &str, endpoint: &str) -> Result<Self, BoxError> {
        Self::build(service, Some(endpoint))
    }

    #[cfg(feature = "otlp")]
    fn build(service: &str, endpoint: Option<&str>) -> Result<Self, BoxError> {
        let exporter = super::otlp::Exporter::new(service, endpoint)?;
        Ok(Self {
            exporter: Some(std::sync::Arc::new(exporter)),
        })
    }

    /// Without the feature `otlp` there is no exporter to build.
    ///
    /// # Errors
    /// Never.
    #[cfg(not(feature = "otlp"))]
    pub fn from_env(_service: &str) -> Result<Self, BoxError> {
        Ok(Self::disabled())
    }

    /// Whether spans are exported.
    pub fn is_enabled(&self) -> bool {
        #[cfg(feature = "otlp")]
        {
            self.exporter.is_some()
        }
        #[cfg(not(feature = "otlp"))]
        {
            false
        }
    }

    /// Whether a trace that begins here is to be recorded: not without an exporter, else by the
    /// sampler that the environment names.
    pub(crate) fn samples_root(&self) -> bool {
        self.is_enabled() && fastrand::f64() < *ratio()
    }

    /// Sends what is waiting, for at most 5 s. Blocks: [`flushed`](Self::flushed) does not.
    pub fn flush(&self) {
        #[cfg(feature = "otlp")]
        if let Some(exporter) = &self.exporter {
            exporter.flush();
        }
    }

    /// Sends what is waiting, for at most 3 s; a part of [`Mesh::shutdown`](crate::Mesh::shutdown).
    pub async fn flushed(&self) {
        #[cfg(feature = "otlp")]
        if let Some(exporter) = &self.exporter {
            exporter.flushed().await;
        }
    }

    /// Sends what is waiting, for at most 3 s, and takes no more; what the last clone does when it is dropped.
    /// A process with several meshes ends them side by side with it. Blocks, as [`flush`](Self::flush) does.
    pub fn end(&self) {
        #[cfg(feature = "otlp")]
        if let Some(exporter) = &self.exporter {
            exporter.end();
        }
    }

    /// Opens the span with the ids of `context`; costs nothing when it would not be exported.
    pub(crate) fn start(
        &self,
        side: Side,
        context: &TraceContext,
        parent: Option<[u8; 8]>,
        name: impl FnOnce() -> Cow<'static, str>,
    ) -> Span {
        if !self.is_enabled() || !context.is_sampled() {
            return Span { open: None };
        }
        Span {
            open: Some(Box::new(Open {
                tracing: self.clone(),
                context: context.clone(),
                parent: parent.unwrap_or_default(),
                remote_parent: side == Side::Server && parent.is_some(),
                side,
                name: name(),
                start: SystemTime::now(),
                fields: Vec::with_capacity(8),
                failure: None,
            })),
        }
    }
}

impl std::fmt::Debug for Tracing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracing")
            .field("enabled", &self.is_enabled())
            .finish()
    }
}

// === impl Span ===

impl Span {
    /// A span that goes nowhere.
    pub(crate) const fn none() -> Self {
        Self { open: None }
    }

    /// Whether it will be exported.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Adds a field; the value is only made when the span is exported.
    pub(crate) fn set(&mut self, key: &'static str, value: impl FnOnce() -> Cow<'static, str>) {
        if let Some(open) = &mut self.open {
            open.fields.push((key, value()));
        }
    }

    /// Marks the span as failed, with the reason's code or status.
    pub(crate) fn fail(&mut self, reason: impl FnOnce() -> Cow<'static, str>) {
        if let Some(open) = &mut self.open {
            open.failure = Some(reason());
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        #[cfg(feature = "otlp")]
        if let Some(open) = self.open.take()
            && let Some(exporter) = open.tracing.exporter.clone()
        {
            exporter.export(*open);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sampler_of_the_environment_is_read() {
        assert_eq!(share_of("", None), 1.0);
        assert_eq!(share_of("always_off", None), 0.0);
        assert_eq!(share_of("parentbased_always_off", None), 0.0);
        assert_eq!(share_of("traceidratio", Some("0.25")), 0.25);
        assert_eq!(share_of("parentbased_traceidratio", Some("x")), 1.0);
    }
}
