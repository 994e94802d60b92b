//! The mesh's wire: schema, subscription engine, `join()`, gRPC classification and status mapping.

pub mod engine;
pub mod pb;
pub mod wire;
