//! Another attempt, where that is safe.
//!
//! Without a policy only what provably was not processed is tried again (nothing sent, or refused
//! by the peer), at most twice, at another endpoint, after a full-jitter pause of 25 to 250 ms.
//! A route's policy adds status codes and, for methods that are idempotent or named, broken
//! connections and attempt timeouts. The decision itself is `mesh_core::retry`'s.
//!
//! Between a caller and an application stands the callee's mesh. What it could not pass on, or what was
//! broken off behind it, is a failed answer that says so (`x-mesh-outcome`), and is decided upon as if
//! the caller had met it itself.
//!
//! Conditions: the body was kept (up to 64 KiB), the budget of the destination pays, the deadline
//! leaves room, and the request that this process serves is not itself a retry (chain stop).
//!
//! A gRPC status is looked at wherever it comes before the first message: in a trailers-only answer,
//! or in trailers right behind the head (for which the head waits at most 10 ms, and only once the
//! request is sent whole). After a message the call is committed (gRFC A6): the caller has seen part
//! of the answer.
//!
//! A failure that was tried again here, or could not be for want of budget, is not to be tried again
//! by callers above: the server that this call was made for says so to its caller
//! (`x-mesh-retried`, `grpc-retry-pushback-ms: -1`), if that is a peer of the mesh.
//!
//! ```
//! use mesh_core::policy::RetryPolicy;
//! use mesh_tower::retry::RetryLayer;
//!
//! let _layer = RetryLayer::new(RetryPolicy::default().with_attempts(2).with_codes(&[503]));
//! ```

mod calls;
mod hedged;
mod kept;
mod pushback;
mod replay;
mod run;
mod service;
mod settle;
mod story;

pub use self::calls::RetriedBelow;
pub use self::pushback::push_back;
pub(crate) use self::run::{Rules, run};
pub(crate) use self::service::RoutedRetry;
pub use self::service::{RetryLayer, RetryService};
