use super::{Interval, TargetRef, choice, schema};

schema! {
    /// How callers treat a service.
    #[derive(Default)]
    pub struct BackendPolicySpec {
        /// What the policy is attached to.
        target_refs: Vec<TargetRef> = "targetRefs" default;
        /// Which endpoint takes a call.
        load_balancing: Option<LoadBalancing> = "loadBalancing" default;
        /// When an endpoint is taken out of rotation.
        outlier_detection: Option<OutlierDetection> = "outlierDetection" default;
        /// Limits on what is open at a time.
        ceilings: Option<Ceilings> = "ceilings" default;
        /// How many retries the calls earn.
        retry_budget: Option<RetryBudget> = "retryBudget" default;
        /// Longest wait for a connection to one address, TLS included.
        connect_timeout: Option<Interval> = "connectTimeout" default;
    }
}

choice! {
    /// How an endpoint is chosen.
    pub enum Algorithm {
        /// Two at random; the one whose peak EWMA of latency, times calls in flight, is lower.
        PeakEwma = "PeakEwma",
        /// Two at random; the one with fewer calls in flight per weight.
        LeastRequest = "LeastRequest",
        /// One after the other.
        RoundRobin = "RoundRobin",
        /// At random.
        Random = "Random",
        /// One after the other, as often as its reports of load say (gRFC A58).
        ClientWeighted = "ClientWeighted",
        /// By hash, on a ring (gRFC A42).
        RingHash = "RingHash",
        /// By hash, from a table: moves fewer keys than chance, costs less than a ring.
        Maglev = "Maglev",
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
    /// Which endpoint takes a call.
    #[derive(Default)]
    pub struct LoadBalancing {
        /// How it is chosen.
        algorithm: Option<Algorithm> = "algorithm" default;
        /// Time in which an old latency fades to 1/e (PeakEwma).
        decay: Option<Interval> = "decay" default;
        /// Latency assumed of an endpoint that has answered nothing yet (PeakEwma).
        default_rtt: Option<Interval> = "defaultRtt" default;
        /// Latency that a failed call counts as, at least (PeakEwma).
        failure_penalty: Option<Interval> = "failurePenalty" default;
        /// With fewer than this percentage of endpoints available, all are used; 0 never.
        panic_percent: Option<u32> = "panicPercent" default;
        /// Time in which the share of a returning endpoint grows to its full size; `0s` at once.
        slow_start: Option<Interval> = "slowStart" default;
    }
}

schema! {
    /// When an endpoint is taken out of rotation.
    #[derive(Default)]
    pub struct OutlierDetection {
        /// Failures in a row; 0 switches this rule off.
        consecutive_errors: Option<u32> = "consecutiveErrors" default;
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
        /// Most endpoints that may be out at a time, in percent; never the last one.
        max_ejected_percent: Option<u32> = "maxEjectedPercent" default;
    }
}

schema! {
    /// Limits on what is open at a time, per destination and process.
    #[derive(Default)]
    pub struct Ceilings {
        /// Connections.
        max_connections: Option<u32> = "maxConnections" default;
        /// Calls that wait for a connection.
        max_pending_requests: Option<u32> = "maxPendingRequests" default;
        /// Calls in flight.
        max_requests: Option<u32> = "maxRequests" default;
        /// Retries in flight, beside the budget.
        max_retries: Option<u32> = "maxRetries" default;
    }
}

schema! {
    /// How many retries the calls earn.
    #[derive(Default)]
    pub struct RetryBudget {
        /// Retries per 100 calls of the interval.
        percent: Option<u32> = "percent" default;
        /// Length of the window, 1 s to 60 s.
        interval: Option<Interval> = "interval" default;
        /// Retries a second that are there without any calls.
        min_retries_per_second: Option<u32> = "minRetriesPerSecond" default;
    }
}
