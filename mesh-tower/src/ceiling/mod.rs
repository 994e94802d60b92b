//! Limits on what is open at a time towards one destination (Envoy's "circuit breaker").
//!
//! A call over the ceiling fails at once with `M2005` instead of queueing: it was never sent, but
//! it is not tried again either, since the destination as a whole is full. The place is given back
//! when the response's *body* ends.
//!
//! This layer counts calls in flight. Of a destination's other ceilings, the one on waiting calls is
//! asked where they wait (for an endpoint in [`crate::balance`], for a connection in
//! [`crate::transport`]), the one on connections in the pools, and the one on retries in
//! [`crate::retry`].
//!
//! ```
//! use mesh_tower::ceiling::CeilingLayer;
//! use tower::ServiceBuilder;
//!
//! let _stack = ServiceBuilder::new().layer(CeilingLayer::new(100));
//! ```

mod service;

pub(crate) use self::service::crowded;
pub use self::service::{CeilingFuture, CeilingLayer, CeilingService};
