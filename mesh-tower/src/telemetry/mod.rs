//! Metrics and traces of one mesh.
//!
//! A [`Recorder`] belongs to one [`Mesh`](crate::Mesh) and is never installed as the process's
//! global recorder: two meshes in one process (tests, the demo) do not mix their series, and an
//! application's own `metrics` set-up is not touched. Handles are registered once, when a view of
//! the policy is built, and kept there: counting is then one atomic addition.
//!
//! ```
//! use mesh_tower::telemetry::Recorder;
//!
//! let recorder = Recorder::new();
//! let calls = recorder.counter("mesh_calls_total", &[("service", "shop/reviews")]);
//! calls.increment(1);
//! assert!(recorder.render().contains("mesh_calls_total{service=\"shop/reviews\"} 1"));
//! ```

mod handles;
mod merge;
#[cfg(feature = "otlp")]
pub(crate) mod otlp;
mod prometheus;
pub(crate) mod spans;

pub(crate) use self::spans::{Side, Span};
pub use self::{
    handles::{Counter, Gauge, GaugeGuard, Histogram},
    merge::merge,
    prometheus::{OTHER, Recorder, SERIES_CAP},
    spans::Tracing,
};
