//! One error type for everything that the mesh answers by itself, and the registry of its codes.
//!
//! A [`MeshError`] says which part of the mesh made it and why: its [`ErrorKind`] is what an
//! operator acts on, its [`Code`] names a page under `docs/errors/`. One table ([`ErrorKind`])
//! maps a kind to its code, HTTP status, gRPC status and metric label. `{}` prints one line,
//! `{:#}` the whole story:
//!
//! ```
//! use mesh_core::error::{Code, ErrorKind, MeshError};
//!
//! let error = MeshError::new(ErrorKind::NoEndpoints, "no endpoint is known");
//! assert_eq!(error.to_string(), "no endpoint is known [M2002]");
//! assert_eq!(error.http_status(), 503);
//! assert_eq!(Code::NO_ENDPOINTS.info().map(|info| info.title), Some("no endpoint is known"));
//! ```
//!
//! What is known about an attempt that failed ([`Flags`]) stays in this process: flags never
//! travel to a peer, who could not trust them.

mod code;
mod kind;
mod mesh_error;
mod registry;
mod story;

pub use code::{Code, CodeError, CodeInfo};
pub use kind::ErrorKind;
pub use mesh_error::{AttemptRecord, BoxError, Flags, MeshError};
pub use registry::registry;
