//! `/.mesh/health` and `/.mesh/ready`, answered by the stack for every peer.
//!
//! *Health* says that the process runs; *ready* that it wants traffic: its identity and policy
//! have arrived and it is not draining. Both pass the access policy.

mod layer;
mod service;

pub use self::{
    layer::HealthLayer,
    service::{Health, HealthFuture},
};
