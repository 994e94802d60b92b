//! Who may call this service: the access policy in force, asked for every request.
//!
//! The decision is read from the live policy, so a change applies to the next request on a
//! connection that is already open. An answer that is still streaming when its right is taken
//! away is cut at its next frame; a peer that may do nothing at all any more loses its
//! connection (see `server`).
//!
//! ```
//! use mesh_core::policy::model::{AccessMode, AccessModel};
//! use mesh_tower::{ErrorKind, MeshBody, access::AccessLayer};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! // No rule: nobody may call.
//! let layer = AccessLayer::fixed(AccessModel::new(AccessMode::Enforce, Vec::new()));
//! let service = ServiceBuilder::new().layer(layer).service(service_fn(
//!     async |_: http::Request<MeshBody>| {
//!         Ok::<_, std::convert::Infallible>(http::Response::new(MeshBody::empty()))
//!     },
//! ));
//! let refused = service.oneshot(http::Request::new(MeshBody::empty())).await.unwrap_err();
//! assert_eq!(refused.kind(), ErrorKind::Denied);
//! # });
//! ```

mod body;
mod future;
mod layer;
mod service;

pub(crate) use self::layer::Rules;
pub use self::{future::AccessFuture, layer::AccessLayer, service::Access};
