//! Decisions of the mesh: what the policy says, where a call goes, whether it may be tried again.
//!
//! No I/O, no runtime and no clock: whatever depends on time takes `now: Instant` as an argument.
//! The same noun names the module here and the layer in `mesh-tower`.

pub mod balance;
pub mod breaker;
pub mod ceiling;
pub mod classify;
pub mod context;
pub mod deadline;
pub mod ejection;
pub mod error;
pub mod fault;
pub mod health;
pub mod hedge;
pub mod identity;
pub mod live;
pub mod metadata;
pub mod name;
pub mod overload;
pub mod policy;
pub mod ratelimit;
pub mod report;
pub mod retry;
pub mod route;
pub mod telemetry;

pub mod clock;
mod quantile;
mod sync;

#[cfg(all(test, loom))]
mod models;
