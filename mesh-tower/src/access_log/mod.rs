//! One line per request, when its answer has ended.
//!
//! Target `mesh::access`, level info. The level is asked once a request: switched off
//! (`MESH_LOG=mesh::access=off`) it costs one load. Fields: `peer`, `method`, `path` (without the
//! query, which may hold secrets), `status`, `code` when the mesh answered, `ms`, `trace`.
//!
//! ```
//! use mesh_tower::access_log::AccessLogLayer;
//!
//! let layer = AccessLogLayer::new();
//! # let _ = layer;
//! ```

mod future;
mod layer;
mod line;
mod service;

pub use self::{future::AccessLogFuture, layer::AccessLogLayer, service::AccessLog};
