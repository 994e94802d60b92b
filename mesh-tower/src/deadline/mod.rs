//! The deadline that a call inherits.
//!
//! The earlier of the caller's remaining time (from the request that this task serves, less a margin
//! for the way back) and the default becomes the call's deadline. A call whose deadline has passed
//! already fails at once: nobody waits for its answer any more.
//!
//! ```
//! use std::time::Duration;
//! use mesh_tower::{deadline::DeadlineLayer, timeout::TimeoutLayer};
//! use tower::ServiceBuilder;
//!
//! let _stack = ServiceBuilder::new()
//!     .layer(DeadlineLayer::new(Duration::from_secs(15)))
//!     .layer(TimeoutLayer::call());
//! ```

pub mod inbound;

mod inject;
mod service;

pub(crate) use self::inject::inject;
pub use self::service::{DeadlineFuture, DeadlineLayer, DeadlineService};
