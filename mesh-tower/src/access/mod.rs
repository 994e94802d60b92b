//! Who may call this service: the access policy in force, asked for every request.
//!
//! The decision is read from the live policy, so a change applies to the next request on a
//! connection that is already open. An answer that is still streaming when its right is taken
//! away is cut at its next frame; a peer that may do nothing at all any more loses its
//! connection (see `server`).

mod body;
mod future;
mod layer;
mod service;

pub(crate) use self::layer::Rules;
pub use self::{future::AccessFuture, layer::AccessLayer, service::Access};
