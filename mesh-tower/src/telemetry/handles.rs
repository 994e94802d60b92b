//! Handles of registered series: cheap to clone, one atomic operation to use.

/// A number that only grows.
#[derive(Clone)]
pub struct Counter(pub(super) metrics::Counter);

/// A number that goes up and down.
#[derive(Clone)]
pub struct Gauge(pub(super) metrics::Gauge);

/// A distribution in fixed buckets, in seconds unless the metric's name says otherwise.
#[derive(Clone)]
pub struct Histogram(pub(super) metrics::Histogram);

// === impl Counter ===

impl Counter {
    /// A counter that goes nowhere, for a mesh without metrics.
    pub const fn noop() -> Self {
        Self(metrics::Counter::noop())
    }

    /// Adds `n`.
    pub fn increment(&self, n: u64) {
        self.0.increment(n);
    }

    /// Raises it to a total that is counted elsewhere; a smaller one changes nothing.
    pub fn absolute(&self, total: u64) {
        self.0.absolute(total);
    }
}

// === impl Gauge ===

impl Gauge {
    /// A gauge that goes nowhere, for a mesh without metrics.
    pub const fn noop() -> Self {
        Self(metrics::Gauge::noop())
    }

    /// Adds `n`, which may be negative.
    pub fn add(&self, n: f64) {
        self.0.increment(n);
    }

    /// Replaces the value.
    pub fn set(&self, value: f64) {
        self.0.set(value);
    }

    /// Adds one until the answer is dropped.
    #[must_use]
    pub fn enter(&self) -> GaugeGuard {
        self.0.increment(1.0);
        GaugeGuard(self.clone())
    }
}

/// One unit in a [`Gauge`], taken back on drop.
pub struct GaugeGuard(Gauge);

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.0.decrement(1.0);
    }
}

// === impl Histogram ===

impl Histogram {
    /// A histogram that goes nowhere, for a mesh without metrics.
    pub const fn noop() -> Self {
        Self(metrics::Histogram::noop())
    }

    /// Records one duration, in seconds.
    pub fn record(&self, elapsed: std::time::Duration) {
        self.0.record(elapsed.as_secs_f64());
    }
}

impl std::fmt::Debug for Counter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Counter")
    }
}

impl std::fmt::Debug for Gauge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gauge")
    }
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Histogram")
    }
}
