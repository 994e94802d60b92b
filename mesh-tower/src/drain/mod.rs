//! The end of a process in two phases, shared by all its servers and clients.
//!
//! ```text
//! Serving --start()--> Unready --(lead time)--> Draining --(nothing held, or time up)--> Done
//! ```
//!
//! *Unready*: health says no and the registry takes the instance out, but new work is still
//! accepted, because callers need a moment to hear of it. *Draining*: no new connection, the live
//! ones are told to go elsewhere (GOAWAY, `connection: close`), what is in flight ends. *Done*: all
//! [`Hold`]s are gone or the time is up; what is left may be cut.
//!
//! Clones are the same drain.

mod signal;

pub use self::signal::{Drain, Hold, Phase, Timing};

#[cfg(test)]
mod tests;
