//! Keeps one kind of call from taking all the places: at most so many in work, a short queue before
//! them, and a compartment of its own for each key.
//!
//! The same gate as [`overload`](crate::overload), with a limit that stays as it is: CoDel queue,
//! newest first under overload, shares by criticality, a place held until the body ends. For
//! clients and servers, over any service.
//!
//! ```
//! use mesh_core::policy::QueuePolicy;
//! use mesh_tower::bulkhead::BulkheadLayer;
//!
//! // Ten at a time of each tenant, and twenty that wait.
//! let _layer = BulkheadLayer::new(10)
//!     .with_queue(QueuePolicy::default().with_size(20))
//!     .per(|head| head.headers.get("x-tenant").map(|value| value.as_bytes().to_vec()));
//! ```

mod layer;
mod service;

pub use self::{layer::BulkheadLayer, service::Bulkhead};
