//! `/.mesh/health` and `/.mesh/ready`, answered by the stack for every peer.
//!
//! *Health* says that the process runs; *ready* that it wants traffic: its identity and policy
//! have arrived and it is not draining. Both pass the access policy.
//!
//! `grpc.health.v1.Health` is answered too, `Check` and `Watch`, for any service name: `NOT_SERVING`
//! while the process is not ready, and from the beginning of its drain, which ends the watches.
//! While it is ready an application that implements the service itself answers for itself; for all
//! others the answer is `SERVING`.
//!
//! ```
//! use mesh_tower::{MeshBody, health::HealthLayer};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let service = ServiceBuilder::new().layer(HealthLayer::new(|| Some("warming up"))).service(
//!     service_fn(async |_: http::Request<MeshBody>| {
//!         Ok::<_, std::convert::Infallible>(http::Response::new(MeshBody::full("application")))
//!     }),
//! );
//! let probe = http::Request::get("/.mesh/ready").body(MeshBody::empty()).unwrap();
//! assert_eq!(service.oneshot(probe).await.unwrap().status(), 503);
//! # });
//! ```

mod grpc;
mod layer;
mod service;

pub(crate) use self::grpc::HealthProbe;
pub use self::{
    layer::HealthLayer,
    service::{Health, HealthFuture},
};
