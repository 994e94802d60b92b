//! How many calls may be in work at a time, found by latency.
//!
//! [`Gradient2`], [`Vegas`] and [`Aimd`] are Netflix's `concurrency-limits`, formula by formula
//! (semantics 10). What is ours, and why:
//!
//! * A **sample is the mean of a window** of 20 to 100 calls (half of the limit), not one call. With single calls and exponential latencies Gradient2 settles near 59 whatever the
//!   server could do, because 22 % of all calls are slower than 1.5 means.
//! * **Slow start and strides**: until the first sign of a queue, or of idleness, the limit grows
//!   by half a window, as TCP's does, so that a cold server is no bottleneck for longer than some
//!   ten windows. Later, while the latency is within 1.2 of the usual, it grows by a twentieth: by
//!   four fifths of a call a window it would take a minute to follow a wave of load.
//! * **The usual latency is learnt only while nothing is held back.** Else a lasting overload
//!   becomes "usual" and the limit drifts to its maximum. Where the limit is at its minimum it is
//!   learnt too: then the service itself has become slower. If that of now is less than half of it,
//!   it falls at any time. So there is no probe, and no cliff while one runs.
//!
//! [`Vegas`] wants latencies that vary little: what it takes for the least one is the luckiest
//! window.

mod aimd;
mod gradient2;
mod limiter;
mod sample;
#[cfg(test)]
mod tests;
mod vegas;

pub use self::aimd::Aimd;
pub use self::gradient2::Gradient2;
pub use self::limiter::Limiter;
pub use self::sample::Sample;
pub use self::vegas::Vegas;
