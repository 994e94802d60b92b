//! The channel to a control server: one HTTP/2 connection, made when first needed and again when it broke.
//!
//! For control-plane calls only (a handful of streams): no balancing, no retries, no policy. Calls between services
//! go through [`mesh_tower::MeshClient`].
//!
//! A [`Channel`] is a `tower::Service` and goes straight under a generated tonic client:
//!
//! ```no_run
//! # async fn run() -> mesh_grpc::Result<()> {
//! use mesh_grpc::{Channel, pb::control::{CheckRequest, admin_client::AdminClient}};
//!
//! let mut admin = AdminClient::new(Channel::unix("/var/lib/mesh-control/admin.sock"));
//! for finding in admin.check(CheckRequest {}).await?.into_inner().findings {
//!     eprintln!("{} {}", finding.subject, finding.message);
//! }
//! # Ok(()) }
//! ```

mod connect;
mod service;

pub use connect::ControlAddr;
pub(crate) use connect::code;
pub use service::Channel;
