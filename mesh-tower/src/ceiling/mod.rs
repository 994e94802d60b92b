//! Limits on what is open at a time towards one destination (Envoy's "circuit breaker").
//!
//! A call over the ceiling fails at once with `M2005` instead of queueing: it was never sent, but
//! it is not tried again either, since the destination as a whole is full. The place is given back
//! when the response's *body* ends.
//!
//! ```
//! use mesh_tower::ceiling::CeilingLayer;
//! use tower::ServiceBuilder;
//!
//! let _stack = ServiceBuilder::new().layer(CeilingLayer::new(100));
//! ```

mod service;

pub use self::service::{CeilingFuture, CeilingLayer, CeilingService};
