//! Active health checks: asks the endpoints of a backend how they are, and tells their states.
//!
//! One task for each endpoint of a backend whose policy has a health check. A check goes over
//! connections of its own, with the same identity in both directions as calls; it takes no place
//! under the ceilings, is in no budget and no call metric, and meets no layer of the user. What an
//! answer means is decided in [`mesh_core::health`].
//!
//! A policy that changes replaces the tasks and keeps what was found; one that is withdrawn forgets
//! it, so that nobody stays out for a reason that nobody looks at any more.

mod checks;
mod grpc;
mod probe;
mod task;

pub(crate) use self::checks::Checks;

#[cfg(test)]
mod tests;
