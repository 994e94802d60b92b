//! Turns a failure of the mesh into the answer that the caller's protocol has for it.
//!
//! A gRPC call gets a trailers-only response (HTTP 200, `grpc-status`, `grpc-message`,
//! `mesh-reason`) with the [`MeshError`](crate::MeshError) in its extensions, so that a generated client sees a
//! proper status. Anything else keeps the error: an HTTP caller in this process wants the type,
//! not a made-up response.
//!
//! ```
//! use mesh_tower::rescue::RescueLayer;
//! use tower::ServiceBuilder;
//!
//! let _stack = ServiceBuilder::new().layer(RescueLayer::new());
//! ```

pub mod inbound;

mod answer;
mod service;

pub use self::answer::grpc_response;
pub(crate) use self::answer::percent_encoded;
pub use self::inbound::http_answer;
pub use self::service::{RescueFuture, RescueLayer, RescueService};
