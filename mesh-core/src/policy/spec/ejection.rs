use super::{Interval, Ratio, choice, schema};

schema! {
    /// When an endpoint is taken out of rotation.
    #[derive(Default)]
    pub struct OutlierDetection {
        /// Failures in a row; 0 switches this rule off.
        consecutive_errors: Option<u32> = "consecutiveErrors" default;
        /// 502, 503 and 504 in a row; 0 switches this rule off.
        consecutive_gateway_errors: Option<u32> = "consecutiveGatewayErrors" default;
        /// Failures to connect, resets and timeouts are counted apart from the answers.
        split_local_origin: Option<bool> = "splitLocalOrigin" default;
        /// Such failures in a row, when they are counted apart; 0 switches this rule off.
        consecutive_local_errors: Option<u32> = "consecutiveLocalErrors" default;
        /// Percentage of failures within the interval; 0 switches this rule off.
        failure_percent: Option<u32> = "failurePercent" default;
        /// Fewest calls of an endpoint in an interval for which a percentage means something.
        minimum_calls: Option<u32> = "minimumCalls" default;
        /// Length of a window.
        interval: Option<Interval> = "interval" default;
        /// Time out of rotation, times the number of ejections in a row.
        eject_for: Option<Interval> = "ejectFor" default;
        /// Longest time out of rotation.
        max_eject_for: Option<Interval> = "maxEjectFor" default;
        /// At random up to this is added to the time out of rotation.
        max_eject_jitter: Option<Interval> = "maxEjectJitter" default;
        /// Most endpoints that may be out at a time, in percent; never the last one.
        max_ejected_percent: Option<u32> = "maxEjectedPercent" default;
        /// Ejects an endpoint whose rate of success is far below the mean; off when left out.
        success_rate: Option<SuccessRate> = "successRate" default;
        /// Ejects an endpoint above a share of failures, whatever the others do; off when left out.
        failure_percentage: Option<FailurePercentage> = "failurePercentage" default;
        /// Finds an endpoint that is slow against the others.
        latency: Option<LatencyOutlier> = "latency" default;
    }
}

choice! {
    /// What happens to an endpoint that is slow against its peers.
    pub enum LatencyMode {
        /// Nothing.
        Off = "Off",
        /// It is shown and counted.
        Shadow = "Shadow",
        /// It is ejected.
        Enforce = "Enforce",
    }
}

schema! {
    /// The rule of the success rate (gRFC A50).
    #[derive(Default)]
    pub struct SuccessRate {
        /// `false` switches off what a less specific policy switched on.
        enabled: Option<bool> = "enabled" default;
        /// Fewest endpoints with enough calls.
        minimum_hosts: Option<u32> = "minimumHosts" default;
        /// Fewest calls of an endpoint in an interval.
        request_volume: Option<u32> = "requestVolume" default;
        /// How far is far, in standard deviations.
        stdev_factor: Option<Ratio> = "stdevFactor" default;
    }
}

schema! {
    /// The rule of the failure percentage (gRFC A50).
    #[derive(Default)]
    pub struct FailurePercentage {
        /// Percentage of failures in an interval; 85 when left out, 0 switches the rule off.
        threshold: Option<u32> = "threshold" default;
        /// Fewest endpoints with enough calls.
        minimum_hosts: Option<u32> = "minimumHosts" default;
        /// Fewest calls of an endpoint in an interval.
        request_volume: Option<u32> = "requestVolume" default;
    }
}

schema! {
    /// The rule of the latency.
    #[derive(Default)]
    pub struct LatencyOutlier {
        /// What happens to a slow endpoint.
        mode: Option<LatencyMode> = "mode" default;
        /// Slow is above so many times the median of the others; above 1.
        factor: Option<Ratio> = "factor" default;
        /// Intervals in a row for which it must be slow.
        intervals: Option<u32> = "intervals" default;
        /// Fewest calls of an endpoint in an interval.
        request_volume: Option<u32> = "requestVolume" default;
        /// Fewest endpoints with enough calls.
        minimum_hosts: Option<u32> = "minimumHosts" default;
    }
}
