//! The root span of a call.
//!
//! The call's trace context is a child of the request that this task serves, else of the
//! `traceparent` that the application has set, else a new trace. It becomes the parent of every
//! attempt's own span.
//!
//! ```
//! use mesh_tower::trace::TraceLayer;
//! use tower::ServiceBuilder;
//!
//! let _stack = ServiceBuilder::new().layer(TraceLayer::new());
//! ```

pub mod inbound;

mod future;
mod service;

pub use self::future::TraceFuture;
pub(crate) use self::future::finish;
pub use self::service::{TraceLayer, TraceService};
