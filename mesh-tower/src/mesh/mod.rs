//! [`Mesh`]: one process's membership in the mesh, and what hands out clients and servers.
//!
//! It owns the tasks, the policy store, the credentials, the recorder and the drain. Cloning is
//! one atomic increment; the background tasks end when the last clone and the last client are
//! gone.
//!
//! ```no_run
//! # async fn run() -> Result<(), mesh_tower::MeshError> {
//! use mesh_tower::Mesh;
//!
//! let mesh = Mesh::builder("web").namespace("shop").policy_file("mesh.yaml").build()?;
//! let reviews = mesh.client("reviews.shop:8080");
//! # drop(reviews); Ok(()) }
//! ```

mod admin;
mod builder;
mod feed;
mod file;
mod gauges;
mod handle;
mod shared;

pub use self::admin::{AdminPages, AdminPart};
pub use self::builder::MeshBuilder;
pub use self::feed::{Feed, Serving, ServingGuard};
pub(crate) use self::handle::Inner;
pub use self::handle::{Mesh, WeakMesh};
pub(crate) use self::shared::{Pushed, Shared, UserLayers};
