//! A bound on the requests in work: what comes above it is refused at once, so that what is
//! already accepted still gets its answer in time.
//!
//! A request counts until its answer's body has ended: a stream is load for as long as it lasts.
//!
//! ```
//! use mesh_tower::shed::ShedLayer;
//!
//! let layer = ShedLayer::new(100);
//! assert_eq!(layer.in_flight(), 0);
//! ```

mod future;
mod layer;
mod permit;
mod service;

pub use self::{future::ShedFuture, layer::ShedLayer, service::Shed};
