use super::{
    Breaker, Connection, HealthCheck, Hedging, Interval, LoadBalancing, Locality, OutlierDetection,
    TargetRef, schema,
};

schema! {
    /// How callers treat a service.
    #[derive(Default)]
    pub struct BackendPolicySpec {
        /// What the policy is attached to.
        target_refs: Vec<TargetRef> = "targetRefs" default;
        /// Which endpoint takes a call.
        load_balancing: Option<LoadBalancing> = "loadBalancing" default;
        /// How calls are divided between zones and priorities.
        locality: Option<Locality> = "locality" default;
        /// When an endpoint is taken out of rotation.
        outlier_detection: Option<OutlierDetection> = "outlierDetection" default;
        /// Limits on what is open at a time.
        ceilings: Option<Ceilings> = "ceilings" default;
        /// How many retries the calls earn.
        retry_budget: Option<RetryBudget> = "retryBudget" default;
        /// When calls fail at once.
        breaker: Option<Breaker> = "breaker" default;
        /// When a call is sent a second time while the first is out.
        hedging: Option<Hedging> = "hedging" default;
        /// How endpoints are asked whether they are well.
        health_check: Option<HealthCheck> = "healthCheck" default;
        /// How connections are kept and ended.
        connection: Option<Connection> = "connection" default;
        /// Longest wait for a connection to one address, TLS included.
        connect_timeout: Option<Interval> = "connectTimeout" default;
        /// Longest silence in the middle of an answer, which otherwise may last; `0s` is no limit.
        stream_idle_timeout: Option<Interval> = "streamIdleTimeout" default;
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
        /// Retries in flight of failed answers and timeouts, beside a share of the calls (the budget's
        /// percent). What repeats a call whose connection ended is bounded by the budget alone.
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
