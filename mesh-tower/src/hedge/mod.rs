//! A second attempt while the first is still out, for calls that may be repeated.
//!
//! When and how many is `mesh_core::hedge`'s; the attempts are made where retries are, so that a call
//! has one list of them. In the assembled client a backend's policy turns it on. [`HedgeLayer`] is
//! the same alone: it hedges methods that are idempotent, and what [`HedgeLayer::idempotent`] says.
//!
//! The first answer that is no failure wins. The others are cancelled: their streams are reset, and
//! what they had in flight at their endpoints is released.
//!
//! ```
//! use mesh_core::policy::HedgePolicy;
//! use mesh_tower::hedge::HedgeLayer;
//!
//! let _layer = HedgeLayer::new(&HedgePolicy::default())
//!     .idempotent(|request| request.headers().contains_key("idempotency-key"));
//! ```

mod latency;
mod layer;
mod service;

pub(crate) use self::latency::Latency;
pub use self::layer::HedgeLayer;
pub use self::service::HedgeService;
