//! Calls for the same thing at the same time share one: a hundred callers that miss a cache make
//! one call.
//!
//! Calls are the same when method (GET or HEAD, without a body), target and the headers that an
//! answer usually varies by are equal, and they matter equally; or when a key of the user's own
//! says so ([`CoalesceLayer::keyed`]). Sharing is only while the call is under way: this is no cache.
//!
//! * **Who leads** goes away: the call goes on, driven by those who wait for it. When nobody waits
//!   any more it is dropped.
//! * **Failures are shared** like answers: a hundred callers must not all try again what has just
//!   failed. Only when the deadline of the one that led passed, a caller with more time makes a
//!   call again, which again is shared.
//! * **Answers are collected** up to a size (64 KiB). A longer one goes to one caller as a stream, and
//!   the others make calls of their own. So do they when the answer is nobody else's business:
//!   `set-cookie`, `cache-control: private` or `no-store`, or a `vary` by something that was not
//!   compared.
//! * At most 1,000 calls are shared at a time; above that each goes by itself.
//!
//! ```
//! use mesh_tower::coalesce::CoalesceLayer;
//!
//! let _layer = CoalesceLayer::new().with_max_body(16 * 1024);
//! ```

mod flight;
mod future;
mod key;
mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use self::{future::CoalesceFuture, layer::CoalesceLayer, service::Coalesce};
