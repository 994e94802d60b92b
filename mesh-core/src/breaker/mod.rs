//! The breaker: calls to a backend that fails are refused at once for a time (the state machine of
//! Hystrix and resilience4j).
//!
//! ```text
//!            failures or slow calls reach a threshold
//!   +--------+ ------------------------------------> +------+
//!   | closed |                                       | open | <----+
//!   +--------+ <-----+                               +------+      | a threshold is reached
//!        ^           | the calls let through are well    | time is up, at the next call
//!        |       +-----------+                           v         |
//!        +------ | half open | <-------------------------+---------+
//!                +-----------+
//! ```
//!
//! Not the same as a *ceiling* (a limit on what is open at a time, Envoy's "circuit breaker") and not
//! the same as *ejection* (one endpoint of many): a breaker refuses calls to all endpoints of a backend.
//!
//! **Closed.** The last `window` calls count, whatever time they span (100). With at least
//! `minimum_calls` of them (100) it opens when `failure_percent` (50) or more failed, or when
//! `slow_percent` (100) or more took longer than `slow_after` (60 s).
//!
//! **Open.** Calls are refused for `open_for` (60 s), and told how long that will last.
//!
//! **Half open.** The next `half_open_calls` (10) are let through, the others refused. A call that is
//! cancelled gives its place back: it has said nothing. When all have ended (or as many as
//! `minimum_calls`, if that is fewer) the same thresholds decide between closed and open.
//!
//! Cold start: closed, and no decision before `minimum_calls`. What a call did that was let through
//! before the last change of state is ignored: it tells of a time that is over.
//!
//! Admission is one atomic load while closed, and a compare-and-swap while half open. Recording is a
//! handful of atomic operations. Neither takes a lock or allocates.

mod permit;
mod state;
mod window;

pub use permit::Permit;
pub use state::{Breaker, Event, Open, Phase};

#[cfg(test)]
mod tests;
