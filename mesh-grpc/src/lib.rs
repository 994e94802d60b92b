//! The mesh's wire: schema, subscription engine, `join()`, gRPC classification and status mapping.
//!
//! ```no_run
//! # async fn run() -> mesh_grpc::Result<()> {
//! let mesh = mesh_grpc::join("web").await?; // identity, policy, registration, reports: from the environment
//! let reviews = mesh.client("reviews.shop:8080"); // goes under any generated tonic client
//! # drop(reviews); Ok(()) }
//! ```
//!
//! | module | holds |
//! | --- | --- |
//! | [`pb`] | generated messages and stubs of `proto/` |
//! | [`wire`] | resource types, conversions to and from mesh-core's types |
//! | [`engine`] | delta subscriptions: client and server machines without I/O, and the server on tonic |
//! | [`channel`] | the connection to a control server, over TLS or a Unix socket |
//! | [`mod@join`] | a process becomes a member of the mesh |
//! | [`classify`] | verdicts about gRPC responses |
//!
//! This is the only library crate of the workspace that names tonic or prost.

pub mod channel;
pub mod classify;
pub mod engine;
mod error;
pub mod join;
pub mod pb;
mod status;
pub mod wire;

pub use channel::Channel;
pub use error::{Error, Result};
pub use join::{Join, join};
pub use status::{mesh_error, set_timeout, status, timeout};
