//! The plaintext side: listeners whose service is the mesh's client.
//!
//! What hyper leaves to a proxy is here: which target a request has ([`target`]), which fields
//! belong to one connection only ([`hop`]), and CONNECT ([`tunnel`]). Framing (HEAD, 204, 304,
//! trailers, 100-continue) is hyper's; bodies stream both ways and are never collected.

mod answer;
mod chain;
#[cfg(test)]
mod chain_tests;
mod hop;
mod listen;
mod outbound;
mod target;
#[cfg(test)]
mod tests;
mod tunnel;

pub(crate) use self::hop::strip;
pub(crate) use self::listen::{Share, bind, serve};
pub(crate) use self::outbound::Outbound;
pub(crate) use self::tunnel::Tunnels;
