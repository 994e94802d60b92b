use std::time::Duration;

use super::tunables::tunables;
use crate::policy::defaults;
pub use crate::policy::spec::LatencyMode;

tunables! {
    /// When an endpoint is taken out of rotation.
    pub struct EjectionPolicy {
        /// Failures in a row that eject; 0 is off.
        consecutive_errors / with_consecutive_errors: u32 = defaults::EJECT_CONSECUTIVE;
        /// 502, 503 and 504 in a row that eject; 0 is off (Envoy's `consecutive_gateway_failure`).
        consecutive_gateway / with_consecutive_gateway: u32 = defaults::EJECT_CONSECUTIVE_GATEWAY;
        /// Whether failures to connect, resets and timeouts are counted apart from the answers
        /// (Envoy's `split_external_local_origin_errors`).
        split_local_origin / with_split_local_origin: bool = defaults::EJECT_SPLIT_LOCAL_ORIGIN;
        /// Such failures in a row that eject, when they are counted apart; 0 is off (Envoy's
        /// `consecutive_local_origin_failure`).
        consecutive_local / with_consecutive_local: u32 = defaults::EJECT_CONSECUTIVE_LOCAL;
        /// Percentage of failures within the interval that ejects, against the peers; 0 is off.
        failure_percent / with_failure_percent: u32 = defaults::EJECT_FAILURE_PERCENT;
        /// Fewest calls in an interval for which that percentage counts.
        minimum_calls / with_minimum_calls: u32 = defaults::EJECT_MINIMUM_CALLS;
        /// Length of the window.
        interval / with_interval: Duration = defaults::EJECT_INTERVAL;
        /// Time out of rotation, times the number of ejections in a row.
        eject_for / with_eject_for: Duration = defaults::EJECT_FOR;
        /// Longest time out of rotation.
        max_eject_for / with_max_eject_for: Duration = defaults::MAX_EJECT_FOR;
        /// At random up to this is added to the time out of rotation (Envoy).
        max_eject_jitter / with_max_eject_jitter: Duration = defaults::MAX_EJECT_JITTER;
        /// Most endpoints out at a time, in percent; never the last available one.
        max_ejected_percent / with_max_ejected_percent: u32 = defaults::MAX_EJECTED_PERCENT;
        /// Whether an endpoint whose rate of success is far below the mean is ejected (A50).
        success_rate / with_success_rate: bool = defaults::EJECT_SUCCESS_RATE;
        /// Fewest endpoints with enough calls for that rule (A50).
        success_rate_minimum_hosts / with_success_rate_minimum_hosts: u32 =
            defaults::EJECT_SUCCESS_RATE_HOSTS;
        /// Fewest calls of an endpoint in an interval for that rule (A50).
        success_rate_volume / with_success_rate_volume: u32 = defaults::EJECT_SUCCESS_RATE_VOLUME;
        /// How far is far, in thousandths of the standard deviation (A50).
        success_rate_stdev_milli / with_success_rate_stdev_milli: u32 =
            defaults::EJECT_SUCCESS_RATE_STDEV_MILLI;
        /// Percentage of failures in an interval that ejects, whatever the peers do; 0 is off (A50's
        /// `failure_percentage_threshold`; 85 is its number).
        failure_percentage_threshold / with_failure_percentage_threshold: u32 =
            defaults::EJECT_FAILURE_PERCENTAGE;
        /// Fewest endpoints with enough calls for that rule (A50).
        failure_percentage_minimum_hosts / with_failure_percentage_minimum_hosts: u32 =
            defaults::EJECT_FAILURE_PERCENTAGE_HOSTS;
        /// Fewest calls of an endpoint in an interval for that rule (A50).
        failure_percentage_volume / with_failure_percentage_volume: u32 =
            defaults::EJECT_FAILURE_PERCENTAGE_VOLUME;
        /// What happens to an endpoint that is slow against its peers.
        latency / with_latency: LatencyMode = defaults::EJECT_LATENCY;
        /// Slow is above this many thousandths of the peers' median.
        latency_factor_milli / with_latency_factor_milli: u32 = defaults::EJECT_LATENCY_FACTOR_MILLI;
        /// Intervals in a row for which it must be slow.
        latency_intervals / with_latency_intervals: u32 = defaults::EJECT_LATENCY_INTERVALS;
        /// Fewest calls of an endpoint in an interval for its latency to count.
        latency_volume / with_latency_volume: u32 = defaults::EJECT_LATENCY_VOLUME;
        /// Fewest endpoints with enough calls for a median.
        latency_minimum_hosts / with_latency_minimum_hosts: u32 = defaults::EJECT_LATENCY_HOSTS;
    }
}
