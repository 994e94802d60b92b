//! One attempt: its own span, its number and its remaining time in the headers, and its count.
//!
//! It sits below retry, so that a callee sees each attempt as a span of its own and knows whether
//! the call is a retry already (then it does not retry further down).
//!
//! ```
//! use mesh_tower::attempt::AttemptLayer;
//! use tower::ServiceBuilder;
//!
//! let _stack = ServiceBuilder::new().layer(AttemptLayer::new());
//! ```

mod headers;
mod service;

pub use self::service::{AttemptFuture, AttemptLayer, AttemptService};
