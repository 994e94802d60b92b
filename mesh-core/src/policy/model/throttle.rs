use std::time::Duration;

use super::tunables::tunables;
use crate::policy::defaults;

tunables! {
    /// Calls that a client refuses itself because the backend refuses most of them (SRE book, "client-
    /// side throttling"): with probability max(0, (requests - k x accepts) / (requests + 1)).
    pub struct ThrottlePolicy {
        /// `k` in thousandths, above 1000: lower refuses sooner.
        k_milli / with_k_milli: u32 = defaults::THROTTLE_K_MILLI;
        /// Time over which requests and accepts are counted; not shorter than the longest timeout.
        window / with_window: Duration = defaults::THROTTLE_WINDOW;
        /// Most of the calls that are refused, in percent, so that a recovery is seen; 1 to 99.
        max_reject_percent / with_max_reject_percent: u32 = defaults::THROTTLE_MAX_REJECT_PERCENT;
    }
}
