//! The load guard: what an endpoint carries, and how long it takes to answer.
//!
//! A call is in flight at its endpoint until the response *body* ends, fails or is dropped: a
//! stream is load. The latency estimate takes the time to the response's headers. A failure, or a
//! call that its own deadline cut off, counts as slow; a call that its caller gave up counts as
//! what it took so far. Without this an endpoint that fails fast would look like the best one.
//!
//! ```
//! use mesh_core::{balance::{EndpointInfo, EndpointSet}, policy::BalancePolicy};
//! use mesh_tower::endpoint::EndpointLayer;
//!
//! let set = EndpointSet::new([EndpointInfo::new(([127, 0, 0, 1], 80).into())]);
//! let _layer = EndpointLayer::new(set, 0, BalancePolicy::default());
//! ```

mod future;
mod guard;
mod service;
mod watched;

pub use self::future::EndpointFuture;
pub(crate) use self::guard::{At, Guard, retry_after};
pub use self::service::{EndpointLayer, EndpointService};
pub(crate) use self::watched::Watch;
