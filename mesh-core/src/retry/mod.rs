//! Retries: the arithmetic. Sending again is the business of the client's retry layer.
//!
//! - [`Budget`]: retries are at most 20 % of the calls of the last 10 s, plus 10 a second; one per
//!   destination, shared by all clones of a client and by every kind of retry
//! - [`Backoff`]: full jitter between 0 and `min((2^n - 1) x 25 ms, 250 ms)`
//! - [`may_retry`]: the one decision, with its reason

mod backoff;
mod budget;
mod decision;

pub use crate::policy::{BudgetPolicy, RetryPolicy};
pub use backoff::Backoff;
pub use budget::Budget;
pub(crate) use decision::LONGEST_PUSHBACK;
pub use decision::{Failed, Limits, RetryReason, StopReason, Verdict, may_retry};

#[cfg(test)]
mod tests;
