//! A limit on the time until response headers.
//!
//! One layer, two places: above retry it enforces the call's deadline ([`TimeoutLayer::call`]),
//! below the ejection record it limits one attempt, connecting included
//! ([`TimeoutLayer::attempt`]). Alone it takes a fixed duration. The body is not limited: a stream
//! may last longer than any sensible wait for its beginning. What ends a stream is silence: in the
//! assembled client a reader that has waited for the next piece for the route's idle time (5 min)
//! gets an error instead.
//!
//! ```
//! use std::time::Duration;
//! use mesh_tower::timeout::TimeoutLayer;
//! use tower::ServiceBuilder;
//!
//! let _stack = ServiceBuilder::new().layer(TimeoutLayer::new(Duration::from_secs(2)));
//! ```

pub mod inbound;

mod future;
mod over;
mod service;

pub use self::future::TimeoutFuture;
pub(crate) use self::over::poll_over;
pub use self::service::{TimeoutLayer, TimeoutService};
