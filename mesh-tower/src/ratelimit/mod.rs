//! How often calls may come: those above a limit are answered 429 (RESOURCE_EXHAUSTED) with the
//! time after which the next one would be taken.
//!
//! The limits are [`RateLimit`](mesh_core::policy::RateLimit)s: for the whole service, or by
//! identity, header, method or path. Without any the layer costs one branch.
//!
//! ```
//! use std::time::Duration;
//! use mesh_core::policy::{RateKey, RateLimit};
//! use mesh_tower::ratelimit::RateLimitLayer;
//!
//! let each = RateLimit::new("each", 100, Duration::from_secs(1)).with_keys([RateKey::Identity]);
//! let _layer = RateLimitLayer::fixed([each]);
//! ```

mod future;
mod layer;
mod limiters;
mod service;

pub(crate) use self::limiters::Limiters;
pub use self::{future::RateLimitFuture, layer::RateLimitLayer, service::RateLimited};
