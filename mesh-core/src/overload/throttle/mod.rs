//! The client throttle (SRE book, "Handling Overload"): a client whose calls are mostly refused as
//! overload refuses part of them itself, since even a refusal costs the backend something.
//!
//! Of the attempts of the last two minutes a part
//!
//! ```text
//! p = max(0, (requests - K x accepts) / (requests + 1))        K = 2
//! ```
//!
//! is refused here. `requests` counts all that were wanted, those refused here included; `accepts`
//! those that the backend did not refuse as overload (429, RESOURCE_EXHAUSTED, 503 with
//! `Retry-After`): any other failure is not asking for less load.
//!
//! **Counted at the start.** An attempt counts as accepted when it begins, and is taken back, in the
//! slot in which it began, when it is refused. Counting at the end instead makes slow calls look
//! refused until they end (go-zero#5011). So the window must not be shorter than the longest timeout.
//!
//! **Criticality.** The part `p` is taken from the least critical calls first: SHEDDABLE, then
//! SHEDDABLE_PLUS, CRITICAL and CRITICAL_PLUS, each by its own share of the traffic.
//!
//! **Recovery.** At most `max_reject_percent` (90) of any level is refused, so a trickle always
//! probes. When it is accepted, `p` falls with each accept.
//!
//! Cold start: nothing is refused. No lock, no allocation; a slot of the window is expired by whoever
//! comes first.

mod engine;

pub use engine::{Throttle, Ticket};

#[cfg(test)]
mod tests;
