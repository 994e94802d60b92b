//! Holds calls back from a backend that refuses most of them as overload.
//!
//! The arithmetic is `mesh_core::overload::throttle`'s (SRE book, K = 2, the last two minutes): the
//! least critical calls are held back first, and a trickle always passes to see a recovery. In the
//! assembled client the decision is made once a call, above retries, and each attempt is counted when
//! it begins and taken back when the backend answers that it is overloaded.
//!
//! A call that is held back ends with M2006 and was never sent.
//!
//! ```
//! use mesh_core::policy::ThrottlePolicy;
//! use mesh_tower::throttle::ThrottleLayer;
//! use tower::ServiceBuilder;
//!
//! let _stack = ServiceBuilder::new().layer(ThrottleLayer::new(&ThrottlePolicy::default()));
//! ```

mod counted;
mod service;

pub(crate) use self::counted::Counted;
pub use self::service::{ThrottleFuture, ThrottleLayer, ThrottleService};
