use super::{Interval, StatusRange, schema};

schema! {
    /// When calls fail at once: the breaker opens on the share of failed or slow calls, lets a few
    /// through after a while, and closes if those go well.
    #[derive(Default)]
    pub struct Breaker {
        /// `false` switches off what a less specific policy switched on.
        enabled: Option<bool> = "enabled" default;
        /// Percentage of failed calls that opens it, 1 to 100.
        failure_percent: Option<u32> = "failurePercent" default;
        /// Percentage of slow calls that opens it, 1 to 100.
        slow_percent: Option<u32> = "slowPercent" default;
        /// A call that takes longer is slow.
        slow_after: Option<Interval> = "slowAfter" default;
        /// Number of the last calls that are looked at, 1 to 10000.
        window: Option<u32> = "window" default;
        /// Fewest calls for which a percentage counts; at most the window.
        minimum_calls: Option<u32> = "minimumCalls" default;
        /// Time for which it stays open.
        open_for: Option<Interval> = "openFor" default;
        /// Calls that are let through after that.
        half_open_calls: Option<u32> = "halfOpenCalls" default;
    }
}

schema! {
    /// A second attempt while the first one is still out; for calls that may be repeated.
    #[derive(Default)]
    pub struct Hedging {
        /// `false` switches off what a less specific policy switched on.
        enabled: Option<bool> = "enabled" default;
        /// It starts when the first one has taken longer than this percentage of the calls, 1 to 99.
        percentile: Option<u32> = "percentile" default;
        /// But not sooner than this.
        minimum_delay: Option<Interval> = "minimumDelay" default;
        /// It starts after this time instead, whatever calls take; `0s` is at once.
        delay: Option<Interval> = "delay" default;
        /// Hedges per 100 calls, 1 to 100.
        max_extra_percent: Option<u32> = "maxExtraPercent" default;
        /// Attempts of a call with the first one, 2 to 5.
        max_attempts: Option<u32> = "maxAttempts" default;
        /// Calls with methods that are not idempotent are hedged too: the callee must cope with a
        /// repetition.
        idempotent: Option<bool> = "idempotent" default;
    }
}

schema! {
    /// How endpoints are asked whether they are well: exactly one of `http`, `grpc`, `tcp`.
    #[derive(Default)]
    pub struct HealthCheck {
        /// `false` switches off what a less specific policy switched on.
        enabled: Option<bool> = "enabled" default;
        /// `GET` of a path.
        http: Option<HttpProbe> = "http" default;
        /// The health service of gRPC.
        grpc: Option<GrpcProbe> = "grpc" default;
        /// A connection.
        tcp: Option<TcpProbe> = "tcp" default;
        /// Pause between two probes, at least 100ms.
        interval: Option<Interval> = "interval" default;
        /// Longest wait for an answer; not longer than `interval`.
        timeout: Option<Interval> = "timeout" default;
        /// Probes in a row that fail until the endpoint is out.
        unhealthy_after: Option<u32> = "unhealthyAfter" default;
        /// Probes in a row that succeed until it is back.
        healthy_after: Option<u32> = "healthyAfter" default;
        /// Each pause is longer or shorter by up to this percentage.
        jitter_percent: Option<u32> = "jitterPercent" default;
        /// Port that is asked; the endpoint's own when left out.
        port: Option<u16> = "port" default;
        /// Probes of one service at a time.
        max_concurrent: Option<u32> = "maxConcurrent" default;
    }
}

schema! {
    /// `GET` of a path.
    #[derive(Default)]
    pub struct HttpProbe {
        /// The path.
        path: String = "path";
        /// Status codes that are well, such as `204` or `200-299` (when left out).
        statuses: Vec<StatusRange> = "statuses" default;
    }
}

schema! {
    /// `grpc.health.v1.Health/Watch`, or `Check` where that is not implemented.
    #[derive(Default)]
    pub struct GrpcProbe {
        /// The service that is asked for; the whole server when left out.
        service: Option<String> = "service" default;
    }
}

schema! {
    /// Nothing to say.
    #[derive(Default)]
    pub struct TcpProbe {
    }
}

schema! {
    /// How connections are kept and ended.
    #[derive(Default)]
    pub struct Connection {
        /// Wait before the other address family is tried as well, 10ms to 2s.
        happy_eyeballs: Option<Interval> = "happyEyeballs" default;
        /// A connection takes no new calls after this; no limit when left out.
        max_age: Option<Interval> = "maxAge" default;
        /// The age of each connection is longer or shorter by up to this percentage.
        max_age_jitter_percent: Option<u32> = "maxAgeJitterPercent" default;
        /// A connection without calls is closed after this.
        idle_timeout: Option<Interval> = "idleTimeout" default;
        /// Silence after which an HTTP/2 connection is pinged, at least 10s; never when left out.
        keepalive_interval: Option<Interval> = "keepaliveInterval" default;
        /// Wait for the answer before the connection counts as dead.
        keepalive_timeout: Option<Interval> = "keepaliveTimeout" default;
        /// A connection without calls is pinged too.
        keepalive_while_idle: Option<bool> = "keepaliveWhileIdle" default;
        /// Calls at a time on one HTTP/2 connection; 0 is the peer's limit.
        max_streams_per_connection: Option<u32> = "maxStreamsPerConnection" default;
        /// Connections to one endpoint; 0 is no limit.
        max_connections_per_endpoint: Option<u32> = "maxConnectionsPerEndpoint" default;
        /// Calls after which a connection is replaced; 0 is no limit.
        max_requests_per_connection: Option<u32> = "maxRequestsPerConnection" default;
    }
}
