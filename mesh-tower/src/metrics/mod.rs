//! One count per call, one per attempt.
//!
//! A call is counted when it is over, which for a stream or a gRPC call is the end of the response
//! body: only the trailers say how a gRPC call went. The series' handles are resolved when a view
//! of the policy is built; counting is then a handful of atomic additions.
//!
//! ```
//! use mesh_tower::{metrics::MetricsLayer, telemetry::Recorder};
//! use tower::ServiceBuilder;
//!
//! let recorder = Recorder::new();
//! let _stack = ServiceBuilder::new().layer(MetricsLayer::new(&recorder, "shop/reviews", "all"));
//! ```

pub mod inbound;

mod edge;
mod edges;
mod ending;
mod service;

pub(crate) use self::edge::Edge;
pub(crate) use self::edges::Edges;
pub(crate) use self::ending::{Ended, Ending};
pub use self::service::{MetricsFuture, MetricsLayer, MetricsService};
