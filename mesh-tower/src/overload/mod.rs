//! Bounds the requests in work by what the server shows that it can do: what comes above the limit
//! waits for a moment or is refused, the least critical first.
//!
//! The decisions are those of [`mesh_core::overload`]: an adaptive limit, shares of it by
//! criticality, a short queue with controlled delay. On by default; `concurrency: Off` in a
//! `TrafficPolicy` switches it off.
//!
//! A request counts until its answer's body has ended. Its latency is taken at the head of the
//! answer: how long a body takes is up to who reads it. An answer that goes on for more than a
//! second is a stream: it leaves the adaptive limit, which is about work and not about watchers or
//! slow readers, and goes on to count against the fixed bound
//! ([`Limits::requests`](crate::server::Limits::requests)).
//!
//! A refused request was not processed, so a client of the mesh may send it elsewhere at once.
//!
//! ```
//! use mesh_core::policy::{ConcurrencyPolicy, QueuePolicy};
//! use mesh_tower::overload::OverloadLayer;
//!
//! let layer = OverloadLayer::new(&ConcurrencyPolicy::default(), &QueuePolicy::default());
//! assert_eq!((layer.limit(), layer.in_work()), (20, 0));
//! ```

mod entrance;
mod future;
mod layer;
mod place;
mod room;
mod service;
#[cfg(test)]
mod tests;

pub(crate) use self::{entrance::Entrance, future::Entered, place::level_of};
pub use self::{future::OverloadFuture, layer::OverloadLayer, service::Overload};
