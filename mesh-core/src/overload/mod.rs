//! What keeps an overload from growing: what a server does when more comes than it can do, and what
//! its clients do when it says so.
//!
//! * [`adaptive`] finds how many calls may be in work at a time, by latency and without a probe.
//! * [`Gate`] admits calls under that limit, lets a bounded number wait ([`Queue`]: CoDel, newest
//!   first under overload) and refuses the rest, the least critical first ([`share`]).
//! * [`throttle`] is the client's part: it holds calls back from a backend that refuses most of them.
//! * [`level`] says how much a call matters.
//!
//! Admission takes no lock: one compare-and-swap. The lock of the queue is taken only when there is
//! something to wait for.

pub mod adaptive;
pub mod throttle;

mod criticality;
mod gate;
mod queue;
mod share;
#[cfg(test)]
mod simulation;

pub use self::criticality::level;
pub use self::gate::{Entry, Gate, Outcome, Refusal, Slot, Ticket, Wake};
pub use self::queue::{Pushed, Queue};
pub(crate) use self::share::part;
pub use self::share::{firm_share, share};
