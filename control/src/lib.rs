//! The mesh's control server and its command line.
//!
//! The server holds the policy, tells each workload what concerns it, issues identities, keeps the
//! registry of live instances and aggregates what workloads report. It is built from the same
//! crates as the workloads: policy is validated by `mesh_core::policy`, pushed by the subscription
//! engine of `mesh_grpc`, served over `mesh_tower`'s transport. Workloads keep serving when it is
//! gone.
//!
//! - [`server`]: configuration and start of `mesh-control`;
//! - [`cli`]: the commands of `meshctl`.

mod ca;
mod error;
mod events;
mod files;
mod findings;
mod page;
mod push;
mod registry;
mod report;
#[cfg(test)]
mod scratch;
mod store;
mod view;

pub mod cli;
pub mod server;

pub use error::Error;
