//! The plaintext side: listeners whose service is the mesh's client.
//!
//! Connections, the checks of HTTP and the fields of one hop are those of `mesh_tower::server`. What
//! is a proxy's own is here: which target a request has ([`target`]), and CONNECT ([`tunnel`]).
//! Bodies stream both ways and are never collected.

mod answer;
mod chain;
#[cfg(test)]
mod chain_tests;
#[cfg(test)]
mod differential;
#[cfg(test)]
mod egress_tests;
mod listen;
mod outbound;
mod outside;
mod target;
#[cfg(test)]
mod tests;
mod tunnel;

pub(crate) use self::listen::{Share, bind};
pub(crate) use self::outbound::{Bytes, Outbound};
pub(crate) use self::target::Named;
pub(crate) use self::tunnel::Tunnels;
