use std::time::Duration;

use super::tunables::tunables;
use crate::policy::defaults;

tunables! {
    /// When calls to a backend fail at once (the state machine of resilience4j): closed, open,
    /// half open.
    pub struct BreakerPolicy {
        /// Percentage of failed calls within the window that opens it, 1 to 100.
        failure_percent / with_failure_percent: u32 = defaults::BREAKER_FAILURE_PERCENT;
        /// Percentage of slow calls within the window that opens it, 1 to 100.
        slow_percent / with_slow_percent: u32 = defaults::BREAKER_SLOW_PERCENT;
        /// A call that takes longer is slow.
        slow_after / with_slow_after: Duration = defaults::BREAKER_SLOW_AFTER;
        /// Number of the last calls that are looked at, 1 to 10,000.
        window / with_window: u32 = defaults::BREAKER_WINDOW;
        /// Fewest calls in the window for which a percentage counts; at most the window.
        minimum_calls / with_minimum_calls: u32 = defaults::BREAKER_MINIMUM_CALLS;
        /// Time for which it stays open.
        open_for / with_open_for: Duration = defaults::BREAKER_OPEN_FOR;
        /// Calls that are let through after that, to see whether it may close; at least 1.
        half_open_calls / with_half_open_calls: u32 = defaults::BREAKER_HALF_OPEN_CALLS;
    }
}
