//! The assembled client: an outer part per client, an inner part per backend, joined by seam A.
//!
//! [`MeshClient`] is always ready and cheap to clone. Admission, waiting for an endpoint and all
//! limits happen inside the call's future, under its deadline: a readiness that reserves something
//! (as `tower::buffer` and `tower::balance` have it) deadlocks, stalls discovery when idle and
//! counts dead endpoints as ready.
//!
//! ```no_run
//! # async fn run() -> Result<(), mesh_tower::MeshError> {
//! use mesh_tower::Mesh;
//! use tower_service::Service;
//!
//! let mesh = Mesh::builder("web").endpoints("reviews", [([127, 0, 0, 1], 9000).into()]).build()?;
//! let mut reviews = mesh.client("reviews");
//! let request = http::Request::get("/reviews/7").body(String::new()).unwrap_or_default();
//! let response = reviews.call(request).await?;
//! # drop(response); Ok(()) }
//! ```

mod assemble;
mod service;

pub(crate) use self::assemble::logical_stack;
pub use self::service::{MeshClient, ResponseFuture};
