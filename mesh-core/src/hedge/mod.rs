//! Hedging: a second attempt while the first is still out, because the first takes longer than calls
//! usually do (gRFC A6; Finagle's `BackupRequest`; "The Tail at Scale").
//!
//! **When.** After the 95th percentile of the latencies seen lately, recomputed every 3 s and never
//! below 1 ms, or after a fixed delay. An answer that is a failure lets the next attempt start at
//! once. A server that pushes back is obeyed: "never" ends it, a time is waited for.
//!
//! **How many.** A budget of its own: at most `max_extra_percent` (5) of the calls of the last 10 s,
//! with nothing for free. An empty budget means no further attempt; what is in flight goes on
//! (failsafe-go#141). At most `max_attempts` (2) are made of one call.
//!
//! **Which calls.** Only those that may be repeated: an idempotent method, or marked so; with a body
//! that is at hand whole. Never a stream of the client.
//!
//! A call that is hedged is not retried: its attempts are counted together (A6). The first answer
//! that is no failure wins and the others are cancelled.
//!
//! Cold start: no hedge before 20 latencies are known.

mod decision;
mod hedger;
mod latencies;

pub use decision::{Next, after_failure, may_hedge};
pub use hedger::Hedger;
pub use latencies::Latencies;

#[cfg(test)]
mod tests;
