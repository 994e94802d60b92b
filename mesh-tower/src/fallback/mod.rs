//! An answer of the application's own in place of a failure: yesterday's list, a default, a text.
//!
//! By default it is asked for whatever is a failure to the caller: an error of the mesh, a 5xx, a
//! gRPC status that says the same. [`FallbackLayer::when`] narrows that. What it gets is the typed
//! failure: the error with its code, or the answer as it came. A call that its caller cancelled
//! gets none (nobody is there to have it), and neither does a stream that fails after its head.
//!
//! It belongs at the top, above retries: it answers when nothing else helped.
//!
//! ```
//! use http::Response;
//! use mesh_tower::{MeshBody, fallback::FallbackLayer};
//!
//! let _layer = FallbackLayer::new(|failed| {
//!     println!("reviews failed: {}", failed.class());
//!     Response::new(MeshBody::full("[]"))
//! });
//! ```

mod failed;
mod future;
mod layer;
mod service;
#[cfg(test)]
mod tests;

pub use self::{failed::Failed, future::FallbackFuture, layer::FallbackLayer, service::Fallback};
