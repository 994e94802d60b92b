//! The mesh's wire: schema, subscription engine, `join()`, gRPC classification and status mapping.

pub mod pb;
