//! Another attempt, where that is safe.
//!
//! Without a policy only what provably was not processed is tried again (nothing sent, or refused
//! by the peer), at most twice, at another endpoint, after a full-jitter pause of 25 to 250 ms.
//! A route's policy adds status codes and, for methods that are idempotent or named, broken
//! connections and attempt timeouts. The decision itself is `mesh_core::retry`'s.
//!
//! Conditions: the body was kept (up to 64 KiB), the budget of the destination pays, the deadline
//! leaves room, and the request that this process serves is not itself a retry (chain stop).
//!
//! Not a goal: a gRPC status that comes in trailers *after* a body has begun to stream is not
//! retried, because the caller has seen part of the answer. Trailers-only answers are.
//!
//! ```
//! use mesh_core::policy::RetryPolicy;
//! use mesh_tower::retry::RetryLayer;
//!
//! let _layer = RetryLayer::new(RetryPolicy::default().with_attempts(2).with_codes(&[503]));
//! ```

mod kept;
mod replay;
mod run;
mod service;
mod story;

pub(crate) use self::service::RoutedRetry;
pub use self::service::{RetryLayer, RetryService};
