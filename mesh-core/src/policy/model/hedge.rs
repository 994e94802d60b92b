use std::time::Duration;

use super::tunables::tunables;
use crate::policy::defaults;

tunables! {
    /// A second attempt while the first one is still out (gRFC A6, Finagle's backup requests). Only
    /// for calls that may be repeated, and never for streams of the client.
    pub struct HedgePolicy {
        /// The second attempt starts when the first has taken longer than this percentage of the
        /// calls, 1 to 99.
        percentile / with_percentile: u32 = defaults::HEDGE_PERCENTILE;
        /// But not sooner than this.
        minimum_delay / with_minimum_delay: Duration = defaults::HEDGE_MINIMUM_DELAY;
        /// Starts it after this time instead, whatever the calls take; zero is at once.
        fixed_delay / with_fixed_delay: Option<Duration> = None;
        /// Hedges per 100 calls, its own budget; 1 to 100.
        max_extra_percent / with_max_extra_percent: u32 = defaults::HEDGE_EXTRA_PERCENT;
        /// Attempts of a call with the first one, 2 to 5 (A6).
        max_attempts / with_max_attempts: u32 = defaults::HEDGE_ATTEMPTS;
        /// Whether calls with methods that are not idempotent are hedged too: the callee must cope
        /// with a repetition.
        idempotent / with_idempotent: bool = false;
    }
}
