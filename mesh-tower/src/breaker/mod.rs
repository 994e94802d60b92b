//! Refuses attempts at a backend that fails, for a time.
//!
//! The state machine is `mesh_core::breaker`'s: closed, open, half open. This layer asks it before
//! each attempt and tells it how the attempt went when the body of the answer has ended, or has
//! broken; a failure, as soon as it is known. How slow it was is the time to the head. It sits below retries, so that each attempt asks for itself, and above the pick, so
//! that a refused attempt takes no endpoint's probe. What is cancelled says nothing and gives its
//! place back; what its own deadline cut off was too slow.
//!
//! A refused attempt ends with M2004, was never sent, and says in `Retry-After` when to come again.
//!
//! ```
//! use mesh_core::policy::BreakerPolicy;
//! use mesh_tower::breaker::BreakerLayer;
//! use tower::ServiceBuilder;
//!
//! let _stack = ServiceBuilder::new().layer(BreakerLayer::new(&BreakerPolicy::default()));
//! ```

mod future;
mod layer;
mod recording;
mod service;

pub use self::future::BreakerFuture;
pub use self::layer::BreakerLayer;
pub use self::service::BreakerService;
pub(crate) use self::service::refused;
