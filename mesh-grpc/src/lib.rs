//! The mesh's wire: schema, subscription engine, `join()`, gRPC classification and status mapping.

pub mod classify;
pub mod engine;
mod error;
pub mod pb;
mod status;
pub mod wire;

pub use error::{Error, Result};
pub use status::{mesh_error, set_timeout, status, timeout};
