//! One shim takes over from another without a refused connection.
//!
//! Both are started with the same `--takeover PATH`. The one that runs listens on that Unix socket;
//! the one that starts finds it there and is given the listening sockets themselves (`SCM_RIGHTS`).
//! So the queues of connections that the kernel has completed and nobody has accepted yet have two
//! readers for a while, and never none. (Opening the ports again with `SO_REUSEPORT` gives the new
//! process queues of its own, and what waits in those of the old one is lost when it ends.)
//!
//! ```text
//! new                                    old
//!  |-- connect ------------------------->|
//!  |<------------- names and descriptors-|  goes on accepting
//!  |   joins, waits for the application  |
//!  |-- ready, what it goes on with ----->|  stops accepting
//!  |<------------------------------- bye-|  ends what is in flight, keeps quiet at the registry
//! ```
//!
//! Listeners are known by what they are for and whose they are (`inbound shop/web`), so that the new one
//! may speak for an application more or fewer. What it does not go on with is taken back from the
//! registry. If the new one ends before it is ready, the old one goes on as if nothing had been. Only the same
//! user, or root, is given anything.

mod give;
mod take;
mod wire;

pub(crate) use self::give::{Giving, Shared};
pub(crate) use self::take::{Taken, take};

#[cfg(test)]
mod tests;
