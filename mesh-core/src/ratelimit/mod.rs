//! How often calls may come: GCRA, the leaky bucket that is one number.
//!
//! A [`Cell`] remembers when its next call is due if calls came evenly; a call is allowed while
//! that is not further ahead than the burst. No refill and no timer; what a refused call has to
//! wait falls out of the same subtraction. In any time `t` no more than `burst + t x rate` calls
//! pass.
//!
//! [`RateLimits`] holds the limits of a service: those for all calls first, each one atomic, then
//! those by caller, header, method or path, in a bounded table of short locks. A call is counted
//! by all of them or by none.

mod cell;
mod keyed;
mod limits;
#[cfg(test)]
mod tests;

pub use self::cell::{Cell, Rate};
pub use self::keyed::Keyed;
pub use self::limits::{Limited, RateLimits};
