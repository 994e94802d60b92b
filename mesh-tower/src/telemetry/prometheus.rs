//! The recorder: `metrics-exporter-prometheus` with a cap on the number of series.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mesh_core::telemetry::names::{METRICS, MetricType, SERIES_DROPPED};
use metrics::{Key, KeyName, Label, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tokio_util::task::AbortOnDropHandle;

use super::{Counter, Gauge, Histogram, Tracing};

/// The most series that one recorder keeps. What comes later is counted under [`OTHER`], so that
/// a flood of names costs neither memory nor the scraper's disk.
pub const SERIES_CAP: usize = 2_000;

/// The value of every label of a series that came after the cap was reached.
pub const OTHER: &str = "_other";

/// How often histograms are folded into their buckets. Between two folds each sample is 8 bytes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Upper bounds in seconds: 0.5 ms to 60 s, close enough that a quantile is within a factor of 2.
const BUCKETS: [f64; 16] = [
    0.0005, 0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.125, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0,
    60.0,
];

static METADATA: Metadata<'static> = Metadata::new("mesh", Level::INFO, None);

/// Where the metrics of one mesh are kept and rendered, and where its spans go. Clones share.
#[derive(Clone)]
pub struct Recorder {
    inner: Option<Arc<Inner>>,
    tracing: Tracing,
}

struct Inner {
    prometheus: PrometheusRecorder,
    handle: PrometheusHandle,
    label: Option<Box<str>>,
    cap: usize,
    /// Hashes would do, but registration is rare and a collision would lose a series.
    series: Mutex<HashSet<Key>>,
    capped: metrics::Counter,
}

// === impl Recorder ===

impl Recorder {
    /// A recorder with the default cap.
    pub fn new() -> Self {
        Self::with_cap(SERIES_CAP)
    }

    /// A recorder that keeps at most `cap` series besides the `_other` ones.
    pub fn with_cap(cap: usize) -> Self {
        Self::build(cap, None)
    }

    /// A recorder with the default cap whose series all have this label too: for several meshes in one
    /// process whose expositions are [merged](super::merge()).
    pub fn labelled(label: &str, value: &str) -> Self {
        Self::build(SERIES_CAP, Some((label, value)))
    }

    fn build(cap: usize, label: Option<(&str, &str)>) -> Self {
        let plain = || match label {
            Some((label, value)) => PrometheusBuilder::new().add_global_label(label, value),
            None => PrometheusBuilder::new(),
        };
        let builder = plain();
        // Fails only for an empty list, which the constant is not.
        let builder = match builder.set_buckets(&BUCKETS) {
            Ok(builder) => builder,
            Err(_) => plain(),
        };
        let prometheus = builder.build_recorder();
        let handle = prometheus.handle();
        describe(&prometheus);
        let capped = prometheus.register_counter(&Key::from_static_name(SERIES_DROPPED), &METADATA);
        Self {
            inner: Some(Arc::new(Inner {
                prometheus,
                handle,
                label: label.map(|(_, value)| value.into()),
                cap,
                series: Mutex::new(HashSet::new()),
                capped,
            })),
            tracing: Tracing::disabled(),
        }
    }

    /// A recorder that keeps nothing.
    pub fn disabled() -> Self {
        Self {
            inner: None,
            tracing: Tracing::disabled(),
        }
    }

    /// Also exports spans of requests, calls and attempts.
    #[must_use]
    pub fn with_tracing(mut self, tracing: Tracing) -> Self {
        self.tracing = tracing;
        self
    }

    /// Where spans go.
    pub fn tracing(&self) -> &Tracing {
        &self.tracing
    }

    /// The value of the label that all its series have: of several meshes in one process, this one. Lines
    /// of the access log say it too.
    pub(crate) fn of(&self) -> Option<&str> {
        self.inner.as_ref()?.label.as_deref()
    }

    /// Whether anything is kept.
    pub fn is_enabled(&self) -> bool {
        self.inner.is_some()
    }

    /// Registers a counter, or finds the one of this name and these labels.
    pub fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        match &self.inner {
            None => Counter::noop(),
            Some(inner) => {
                let key = inner.admit(name, labels);
                Counter(inner.prometheus.register_counter(&key, &METADATA))
            }
        }
    }

    /// Registers a gauge, or finds the one of this name and these labels.
    pub fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        match &self.inner {
            None => Gauge::noop(),
            Some(inner) => {
                let key = inner.admit(name, labels);
                Gauge(inner.prometheus.register_gauge(&key, &METADATA))
            }
        }
    }

    /// Registers a histogram, or finds the one of this name and these labels.
    pub fn histogram(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Histogram {
        match &self.inner {
            None => Histogram::noop(),
            Some(inner) => {
                let key = inner.admit(name, labels);
                Histogram(inner.prometheus.register_histogram(&key, &METADATA))
            }
        }
    }

    /// Everything in Prometheus' text format; empty for a disabled recorder.
    pub fn render(&self) -> String {
        match &self.inner {
            None => String::new(),
            Some(inner) => inner.handle.render(),
        }
    }

    /// Folds recorded samples into the buckets. Call it every few seconds (a
    /// [`Mesh`](crate::Mesh) does): without it samples pile up until somebody scrapes.
    pub fn upkeep(&self) {
        if let Some(inner) = &self.inner {
            inner.handle.run_upkeep();
        }
    }

    /// Runs [`Recorder::upkeep`] on the current runtime until the answer is dropped.
    pub(crate) fn spawn_upkeep(&self) -> AbortOnDropHandle<()> {
        let recorder = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut tick = tokio::time::interval(UPKEEP);
            loop {
                tick.tick().await;
                recorder.upkeep();
            }
        }))
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("enabled", &self.is_enabled())
            .finish()
    }
}

// === impl Inner ===

impl Inner {
    /// The key under which to register: as asked, or `_other` beyond the cap.
    fn admit(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Key {
        let key = Key::from_parts(
            name,
            labels
                .iter()
                .map(|(label, value)| Label::new(*label, (*value).to_owned()))
                .collect::<Vec<_>>(),
        );
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if series.contains(&key) {
            return key;
        }
        // A series without labels is one per metric: their number is fixed by the code.
        if labels.is_empty() {
            return key;
        }
        if series.len() < self.cap {
            series.insert(key.clone());
            return key;
        }
        drop(series);
        self.capped.increment(1);
        Key::from_parts(
            name,
            labels
                .iter()
                .map(|(label, _)| Label::from_static_parts(label, OTHER))
                .collect::<Vec<_>>(),
        )
    }
}

/// Gives the exposition its help texts.
fn describe(prometheus: &PrometheusRecorder) {
    for metric in METRICS {
        let name = KeyName::from_const_str(metric.name);
        let meaning = metric.meaning.into();
        match metric.kind {
            MetricType::Counter => prometheus.describe_counter(name, None, meaning),
            MetricType::Gauge => prometheus.describe_gauge(name, None, meaning),
            MetricType::Histogram => prometheus.describe_histogram(name, None, meaning),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_beyond_the_cap_are_counted_as_other() {
        let recorder = Recorder::with_cap(2);
        for service in ["a", "b", "c", "d"] {
            recorder
                .counter("mesh_calls_total", &[("service", service)])
                .increment(1);
        }
        // A known series is still found when the cap is reached.
        recorder
            .counter("mesh_calls_total", &[("service", "a")])
            .increment(1);

        let text = recorder.render();
        assert!(text.contains("mesh_calls_total{service=\"a\"} 2"), "{text}");
        assert!(text.contains("mesh_calls_total{service=\"b\"} 1"), "{text}");
        assert!(
            text.contains("mesh_calls_total{service=\"_other\"} 2"),
            "{text}"
        );
        assert!(!text.contains("service=\"c\""), "{text}");
        assert!(
            text.contains("mesh_metric_series_dropped_total 2"),
            "{text}"
        );
    }

    #[test]
    fn durations_are_rendered_as_buckets() {
        let recorder = Recorder::new();
        let histogram = recorder.histogram("mesh_call_duration_seconds", &[("service", "a")]);
        histogram.record(Duration::from_millis(3));
        recorder.upkeep();
        let text = recorder.render();
        assert!(text.contains("le=\"0.004\"} 1"), "{text}");
        assert!(
            text.contains("mesh_call_duration_seconds_count{service=\"a\"} 1"),
            "{text}"
        );
    }

    #[test]
    fn a_disabled_recorder_renders_nothing() {
        let recorder = Recorder::disabled();
        recorder.counter("mesh_calls_total", &[]).increment(1);
        assert_eq!(recorder.render(), "");
    }

    #[test]
    fn two_recorders_do_not_mix() {
        let (one, two) = (Recorder::new(), Recorder::new());
        one.counter("mesh_calls_total", &[("service", "a")])
            .increment(1);
        assert!(!two.render().contains("service=\"a\""));
    }

    #[test]
    fn a_gauge_guard_takes_its_unit_back() {
        let recorder = Recorder::new();
        let gauge = recorder.gauge("mesh_connections", &[("side", "server")]);
        let guard = gauge.enter();
        assert!(
            recorder
                .render()
                .contains("mesh_connections{side=\"server\"} 1")
        );
        drop(guard);
        assert!(
            recorder
                .render()
                .contains("mesh_connections{side=\"server\"} 0")
        );
    }
}
