//! The subscription engine: the delta form of the discovery protocol as two state machines without I/O.
//!
//! [`server`] decides what each connection must be told, [`client`] keeps what was heard and says so. Neither looks
//! into a resource, knows a type beyond its URL, reads a clock or touches a socket: [`serve`] and `join()` carry the
//! messages. Rules (architecture.md, "The wire"):
//!
//! - a version is a hash of the content ([`Version`]), so it does not depend on the process or the time, and a
//!   client that reconnects with what it holds is sent only the difference;
//! - one response of a type is under way at a time; the next waits for its ACK or NACK;
//! - after a NACK the refused versions are not sent again until the configuration changes;
//! - an answer with a stale nonce settles nothing (names that it subscribes still count);
//! - a name that does not exist is answered by a removal at once;
//! - a change of one resource wakes only its subscribers;
//! - what is referred to goes first: the order of types is given to the server, and what a client holds is removed
//!   only after everything new has been answered.

pub mod client;
mod limits;
#[cfg(test)]
mod pair_tests;
pub mod serve;
pub mod server;
mod version;

pub use limits::{Limits, Violation};
pub use version::Version;

/// The name that subscribes to every resource of a type.
pub const WILDCARD: &str = "*";
