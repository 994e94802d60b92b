//! Every default of the policy, each with the reason for its number.
//!
//! The constants are what the model uses; [`table`] is the same list for people (documentation,
//! `meshctl`). A number is written here and nowhere else.

use std::time::Duration;

use super::spec::{LatencyMode, TlsVersion};

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultInfo {
    /// What is set, as a field of the policy where there is one.
    pub knob: &'static str,
    /// The value, as it would be written.
    pub value: &'static str,
    /// Why this value.
    pub because: &'static str,
}

macro_rules! defaults {
    ($( $name:ident : $ty:ty = $value:expr, $knob:literal = $text:literal, $because:literal; )*) => {
        $(
            #[doc = concat!("`", $knob, "`: ", $text, ". ", $because)]
            pub const $name: $ty = $value;
        )*

        const TABLE: &[DefaultInfo] = &[
            $( DefaultInfo { knob: $knob, value: $text, because: $because }, )*
        ];

        /// Name, constant as it would be written, and what the table shows.
        #[cfg(test)]
        fn shown() -> Vec<(&'static str, String, &'static str)> {
            vec![$( (stringify!($name), tests::Show::show(&$name, stringify!($name)), $text), )*]
        }
    };
}

defaults! {
    REQUEST_TIMEOUT: Duration = Duration::from_secs(15), "timeouts.request" = "15s",
        "A call without a deadline hangs as long as its server does; Envoy and Kuma use 15s. The caller's remaining time counts when it is shorter.";
    DEADLINE_MARGIN: Duration = Duration::from_millis(5), "margin of an inherited deadline" = "5ms",
        "A hop waits so much less than its caller does, or a tenth of the time left if that is less: the error that names what took too long arrives while the caller still listens. A round trip within a data centre takes less.";
    STREAM_IDLE: Duration = Duration::from_secs(300), "streamIdleTimeout" = "5m",
        "A stream may last; one that is silent for five minutes (Envoy's number) has lost its peer.";
    WAIT_FOR_ENDPOINT: Duration = Duration::from_secs(5), "waiting for an endpoint" = "5s",
        "Or the deadline, if sooner; then an error that says why. Waiting for ever hides the fault.";
    CONNECT_TIMEOUT: Duration = Duration::from_secs(1), "connectTimeout" = "1s",
        "Per address. Within a data centre an answer takes milliseconds; Linkerd uses 1s.";
    HAPPY_EYEBALLS: Duration = Duration::from_millis(250), "connection.happyEyeballs" = "250ms",
        "RFC 8305 section 8.";
    TRANSPARENT_RETRIES: u32 = 2, "retry.attempts without a policy" = "2",
        "Only for what provably was not processed, on another endpoint: repeating it cannot do harm. A refused connection needs no budget while another endpoint is reachable: the callee has seen nothing yet.";
    RETRY_ATTEMPTS: u32 = 1, "retry.attempts with a policy" = "1",
        "One more attempt rescues most calls; each further one costs load for little.";
    BACKOFF_BASE: Duration = Duration::from_millis(25), "retry.backoff" = "25ms",
        "Envoy's and gRPC's base, with full jitter.";
    BACKOFF_MAX: Duration = Duration::from_millis(250), "longest pause before a retry" = "250ms",
        "Ten times the base, as in Envoy: longer than this the deadline is better spent on an error.";
    BUDGET_PERCENT: u32 = 20, "retryBudget.percent" = "20",
        "A full outage adds a fifth of load, not a multiple (Finagle, Linkerd, GEP-3388).";
    BUDGET_INTERVAL: Duration = Duration::from_secs(10), "retryBudget.interval" = "10s",
        "Long enough to smooth bursts, short enough to forget yesterday's traffic (Finagle).";
    BUDGET_MIN_PER_SECOND: u32 = 10, "retryBudget.minRetriesPerSecond" = "10",
        "A client with little traffic must be able to retry at all (Finagle, Linkerd).";
    REPLAY_BYTES: usize = 64 << 10, "body kept for a retry" = "64KiB",
        "Per call, so memory stays bounded; a longer body is sent once, and counted (Linkerd).";
    EWMA_DECAY: Duration = Duration::from_secs(10), "loadBalancing.decay" = "10s",
        "Finagle's and Linkerd's number.";
    DEFAULT_RTT: Duration = Duration::from_millis(30), "loadBalancing.defaultRtt" = "30ms",
        "A new endpoint is tried soon, and is not flooded (Linkerd).";
    FAILURE_PENALTY: Duration = Duration::from_secs(5), "loadBalancing.failurePenalty" = "5s",
        "An endpoint that fails quickly must not look fast (Linkerd's load biaser).";
    PANIC_PERCENT: u32 = 50, "loadBalancing.panicPercent" = "50",
        "With fewer than half available the rest would be overrun; then all are used (Envoy).";
    SLOW_START: Duration = Duration::from_secs(10), "loadBalancing.slowStart" = "10s",
        "An endpoint that returns is warmed up over one ejection interval, not hit at once.";
    SLOW_START_MIN_PERCENT: u32 = 10, "loadBalancing.slowStartMinPercent" = "10",
        "A share of nothing would never be measured (Envoy's min_weight_percent).";
    SLOW_START_AGGRESSION_MILLI: u32 = 1000, "loadBalancing.slowStartAggression" = "1",
        "A straight line (Envoy).";
    FAIL_ON_PANIC: bool = false, "loadBalancing.failOnPanic" = "false",
        "An answer of a doubtful endpoint is better than none (Envoy).";
    LB_CHOICES: u32 = 2, "loadBalancing.choices" = "2",
        "The second choice brings nearly all of the gain (A48, Envoy).";
    REQUEST_BIAS_MILLI: u32 = 1000, "loadBalancing.requestBias" = "1",
        "Calls in flight count as they are (Envoy's active_request_bias).";
    MIN_RING_SIZE: u32 = 1024, "loadBalancing.minRingSize" = "1024", "Envoy's number.";
    MAX_RING_SIZE: u32 = 4096, "loadBalancing.maxRingSize" = "4096",
        "The cap of gRPC's clients (A42): 4096 places are 64 KiB a backend.";
    MAGLEV_TABLE_SIZE: u32 = 65_537, "loadBalancing.maglevTableSize" = "65537",
        "The prime of the Maglev paper and of Envoy: 100 places and more for each of up to 655 endpoints.";
    BOUNDED_LOAD_PERCENT: u32 = 0, "loadBalancing.boundedLoadPercent" = "0",
        "Off: a bound moves keys, which whoever asks for a hash may not expect. 120 to 200 is usual.";
    ORCA_BLACKOUT: Duration = Duration::from_secs(10), "loadBalancing.orca.blackout" = "10s",
        "The first reports of a cold endpoint mislead (A58).";
    ORCA_EXPIRATION: Duration = Duration::from_secs(180), "loadBalancing.orca.expiration" = "3m",
        "A58's number.";
    ORCA_PERIOD: Duration = Duration::from_secs(1), "loadBalancing.orca.period" = "1s",
        "A58's number.";
    ORCA_ERROR_PENALTY_MILLI: u32 = 1000, "loadBalancing.orca.errorPenalty" = "1",
        "An endpoint that fails quickly must not look idle (A58).";
    APERTURE_ABOVE: u32 = 100, "loadBalancing.apertureAbove" = "100",
        "Connections grow with clients x endpoints; below this they are cheap (Finagle).";
    APERTURE_MIN: u32 = 12, "loadBalancing.apertureMin" = "12",
        "Fewer would lose too much with each endpoint (Finagle's lower bound).";
    SUBSET_SIZE: u32 = 0, "loadBalancing.subsetSize" = "0",
        "Off: the aperture divides more evenly; this is for clients that do not know each other (A68).";
    OVERPROVISIONING_PERCENT: u32 = 140, "locality.overprovisioningPercent" = "140",
        "Calls leave a zone only when more than 28 % of it is lost (Envoy).";
    ZONE_AWARE_MIN_ENDPOINTS: u32 = 6, "locality.zoneAwareMinEndpoints" = "6",
        "With fewer the shares of zones are too coarse (Envoy).";
    ZONE_ROUTING_PERCENT: u32 = 100, "locality.zoneRoutingPercent" = "100",
        "Calls within a zone are faster and cost less; what the zone cannot take spills over (Envoy).";
    LOCALITY_FAILOVER: bool = true, "locality.failover" = "true",
        "A priority that nobody fails over to has no use.";
    EJECT_CONSECUTIVE: u32 = 5, "outlierDetection.consecutiveErrors" = "5",
        "Fewer is chance: at 10 % failures three in a row come every 1,000 calls (Envoy uses 5).";
    EJECT_FAILURE_PERCENT: u32 = 20, "outlierDetection.failurePercent" = "20",
        "Finds an endpoint that fails now and then: of three endpoints one failing 30 % is out after 1.2s in the median of 300 simulated runs, against 24s by consecutive errors alone. Peers must fail less than half as much.";
    EJECT_MINIMUM_CALLS: u32 = 20, "outlierDetection.minimumCalls" = "20",
        "Below this a percentage says little.";
    EJECT_INTERVAL: Duration = Duration::from_secs(10), "outlierDetection.interval" = "10s",
        "Envoy's number.";
    EJECT_FOR: Duration = Duration::from_secs(30), "outlierDetection.ejectFor" = "30s",
        "Times the number of ejections in a row (Envoy).";
    MAX_EJECT_FOR: Duration = Duration::from_secs(300), "outlierDetection.maxEjectFor" = "5m",
        "So that a repaired endpoint returns within minutes (Envoy).";
    MAX_EJECTED_PERCENT: u32 = 50, "outlierDetection.maxEjectedPercent" = "50",
        "The rest must carry the load; never the last available one.";
    EJECT_CONSECUTIVE_GATEWAY: u32 = 0, "outlierDetection.consecutiveGatewayErrors" = "0",
        "Off: consecutiveErrors counts these as well (Envoy does not enforce it either).";
    EJECT_SPLIT_LOCAL_ORIGIN: bool = false, "outlierDetection.splitLocalOrigin" = "false",
        "A connection that fails is a failure of the endpoint (Envoy).";
    EJECT_CONSECUTIVE_LOCAL: u32 = 5, "outlierDetection.consecutiveLocalErrors" = "5", "Envoy's number.";
    MAX_EJECT_JITTER: Duration = Duration::ZERO, "outlierDetection.maxEjectJitter" = "0s",
        "Each endpoint returns through a single probe, so there is no herd to spread (Envoy's number).";
    EJECT_SUCCESS_RATE: bool = false, "outlierDetection.successRate.enabled" = "false",
        "failurePercent compares with the peers as well, and needs fewer calls and endpoints.";
    EJECT_SUCCESS_RATE_HOSTS: u32 = 5, "outlierDetection.successRate.minimumHosts" = "5",
        "A deviation of fewer says little (A50, Envoy).";
    EJECT_SUCCESS_RATE_VOLUME: u32 = 100, "outlierDetection.successRate.requestVolume" = "100",
        "A50's and Envoy's number.";
    EJECT_SUCCESS_RATE_STDEV_MILLI: u32 = 1900, "outlierDetection.successRate.stdevFactor" = "1.9",
        "A50's and Envoy's number.";
    EJECT_FAILURE_PERCENTAGE: u32 = 0, "outlierDetection.failurePercentage.threshold" = "0",
        "Off: a fixed share ejects the good with the bad when the service as a whole fails (Envoy does not enforce it; A50's number is 85).";
    EJECT_FAILURE_PERCENTAGE_GIVEN: u32 = 85, "outlierDetection.failurePercentage.threshold when the rule is given" = "85",
        "A50's and Envoy's number.";
    EJECT_FAILURE_PERCENTAGE_HOSTS: u32 = 5, "outlierDetection.failurePercentage.minimumHosts" = "5",
        "A50's and Envoy's number.";
    EJECT_FAILURE_PERCENTAGE_VOLUME: u32 = 50, "outlierDetection.failurePercentage.requestVolume" = "50",
        "A50's and Envoy's number.";
    EJECT_LATENCY: LatencyMode = LatencyMode::Shadow, "outlierDetection.latency.mode" = "Shadow",
        "Slow may be right, so it is shown and counted until somebody says otherwise.";
    EJECT_LATENCY_FACTOR_MILLI: u32 = 3000, "outlierDetection.latency.factor" = "3",
        "Three times the median of the peers is no spread of a healthy service.";
    EJECT_LATENCY_INTERVALS: u32 = 3, "outlierDetection.latency.intervals" = "3",
        "Garbage collection and deployments pass within one or two.";
    EJECT_LATENCY_VOLUME: u32 = 50, "outlierDetection.latency.requestVolume" = "50",
        "Below this a percentile says little.";
    EJECT_LATENCY_HOSTS: u32 = 5, "outlierDetection.latency.minimumHosts" = "5",
        "A median of fewer is one of the slow ones too easily.";
    BREAKER_FAILURE_PERCENT: u32 = 50, "breaker.failurePercent" = "50", "resilience4j's number.";
    BREAKER_SLOW_PERCENT: u32 = 100, "breaker.slowPercent" = "100", "resilience4j's number.";
    BREAKER_SLOW_AFTER: Duration = Duration::from_secs(60), "breaker.slowAfter" = "1m",
        "resilience4j's number: slow calls count only where somebody says what slow is.";
    BREAKER_WINDOW: u32 = 100, "breaker.window" = "100", "Calls, not time (resilience4j).";
    BREAKER_MINIMUM_CALLS: u32 = 100, "breaker.minimumCalls" = "100", "resilience4j's number.";
    BREAKER_OPEN_FOR: Duration = Duration::from_secs(60), "breaker.openFor" = "1m",
        "resilience4j's number.";
    BREAKER_HALF_OPEN_CALLS: u32 = 10, "breaker.halfOpenCalls" = "10", "resilience4j's number.";
    HEDGE_PERCENTILE: u32 = 95, "hedging.percentile" = "95",
        "One call of twenty is sent twice: much of the tail for little load (Dean and Barroso, The Tail at Scale).";
    HEDGE_MINIMUM_DELAY: Duration = Duration::from_millis(1), "hedging.minimumDelay" = "1ms",
        "Below this the second attempt costs more than it saves (Finagle).";
    HEDGE_EXTRA_PERCENT: u32 = 5, "hedging.maxExtraPercent" = "5",
        "What the percentile asks for; a slow service is not sent twice its load.";
    HEDGE_ATTEMPTS: u32 = 2, "hedging.maxAttempts" = "2", "The third one wins seldom.";
    HEALTH_INTERVAL: Duration = Duration::from_secs(10), "healthCheck.interval" = "10s",
        "Calls tell sooner; probes find what gets none.";
    HEALTH_TIMEOUT: Duration = Duration::from_secs(1), "healthCheck.timeout" = "1s",
        "An endpoint that needs longer for nothing is not well.";
    HEALTH_UNHEALTHY_AFTER: u32 = 3, "healthCheck.unhealthyAfter" = "3", "One lost probe is chance.";
    HEALTH_HEALTHY_AFTER: u32 = 2, "healthCheck.healthyAfter" = "2",
        "One good answer of a flapping endpoint is chance as well.";
    HEALTH_JITTER_PERCENT: u32 = 20, "healthCheck.jitterPercent" = "20",
        "So that the clients of an endpoint do not ask in step.";
    HEALTH_CONCURRENT: u32 = 16, "healthCheck.maxConcurrent" = "16",
        "Bounds what one backend's probes cost a process.";
    CONNECTION_AGE_JITTER_PERCENT: u32 = 10, "connection.maxAgeJitterPercent" = "10",
        "So that connections made together do not end together (A9).";
    CONNECTION_IDLE: Duration = Duration::from_secs(45), "connection.idleTimeout" = "45s",
        "With the looks at it at most 67s: it is the client that closes, not a server (75s).";
    KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20), "connection.keepaliveTimeout" = "20s",
        "A8's number.";
    STREAMS_PER_CONNECTION: u32 = 0, "connection.maxStreamsPerConnection" = "0",
        "The peer says how many it takes (SETTINGS_MAX_CONCURRENT_STREAMS).";
    CONNECTIONS_PER_ENDPOINT: u32 = 0, "connection.maxConnectionsPerEndpoint" = "0",
        "ceilings.maxConnections bounds all of them.";
    REQUESTS_PER_CONNECTION: u32 = 0, "connection.maxRequestsPerConnection" = "0",
        "A connection that works is kept.";
    THROTTLE_K_MILLI: u32 = 2000, "outbound.throttle.k" = "2",
        "A backend sees up to twice what it accepts, so that it is seen to recover (SRE book).";
    THROTTLE_WINDOW: Duration = Duration::from_secs(120), "outbound.throttle.window" = "2m",
        "The SRE book's number.";
    THROTTLE_MAX_REJECT_PERCENT: u32 = 90, "outbound.throttle.maxRejectPercent" = "90",
        "Without any calls a recovery is not seen.";
    MIRROR_BODY: usize = 64 << 10, "body of a mirrored call" = "64KiB",
        "A copy must not cost the call its memory; a longer body is not copied, and counted.";
    FAULT_MAX_ACTIVE: u32 = 100, "Fault: maxActive" = "100",
        "Delayed calls hold memory; a test must not take the process down.";
    DIRECT_RESPONSE_BODY: usize = 64 << 10, "DirectResponse: longest body" = "64KiB",
        "It travels with the policy to every caller.";
    RATE_LIMIT_PER: Duration = Duration::from_secs(1), "inbound.rateLimits[].per" = "1s",
        "Limits are mostly said per second.";
    CONCURRENCY_INITIAL: u32 = 20, "inbound.concurrency.initial" = "20",
        "Netflix's number; it doubles within a few hundred calls.";
    CONCURRENCY_MIN: u32 = 20, "inbound.concurrency.min" = "20",
        "So that a bad measurement never stops a server (Netflix).";
    CONCURRENCY_MAX: u32 = 1000, "inbound.concurrency.max" = "1000", "Envoy's number.";
    CONCURRENCY_SMOOTHING_MILLI: u32 = 200, "inbound.concurrency.smoothing" = "0.2",
        "Netflix's number (Gradient2).";
    CONCURRENCY_TOLERANCE_MILLI: u32 = 1500, "inbound.concurrency.tolerance" = "1.5",
        "Netflix's number (Gradient2).";
    CONCURRENCY_QUEUE: u32 = 4, "inbound.concurrency.queue" = "4", "Netflix's number (Gradient2).";
    CONCURRENCY_LONG_WINDOW: u32 = 600, "inbound.concurrency.longWindow" = "600",
        "Netflix's number (Gradient2).";
    CONCURRENCY_BACKOFF_MILLI: u32 = 900, "inbound.concurrency.backoff" = "0.9",
        "Netflix's number (Aimd).";
    CONCURRENCY_SLOW_AFTER: Duration = Duration::from_secs(5), "inbound.concurrency.slowAfter" = "5s",
        "Netflix's number (Aimd).";
    QUEUE_SIZE: u32 = 100, "inbound.queue.size" = "100", "Linkerd's number.";
    QUEUE_TARGET: Duration = Duration::from_millis(5), "inbound.queue.target" = "5ms",
        "RFC 8289 section 4.2.";
    QUEUE_INTERVAL: Duration = Duration::from_millis(100), "inbound.queue.interval" = "100ms",
        "RFC 8289 section 4.2.";
    MAX_CONNECTIONS: u32 = 1024, "ceilings.maxConnections" = "1024", "Envoy's number.";
    MAX_PENDING: u32 = 1024, "ceilings.maxPendingRequests" = "1024", "Envoy's number.";
    MAX_REQUESTS: u32 = 1024, "ceilings.maxRequests" = "1024", "Envoy's number.";
    MAX_RETRIES: u32 = 3, "ceilings.maxRetries" = "3",
        "Envoy's number, beside 20 % of the calls. Calls whose connection ended need no place: they break all at once when a process dies, and the budget bounds them (Finagle, Linkerd).";
    ENDPOINT_WEIGHT: u32 = 1, "endpoints.static[].weight" = "1", "All endpoints are equal.";
    BACKEND_WEIGHT: u32 = 1, "backendRefs[].weight" = "1", "Gateway API's number.";
    EXTERNAL_PORT: u16 = 443, "endpoints.external.port" = "443", "The port of HTTPS.";
    REDIRECT_STATUS: u16 = 302, "requestRedirect.statusCode" = "302", "Gateway API's number.";
    SERVER_HEADER_FIELDS: usize = 100, "server: header fields" = "100",
        "More is an attack or a loop.";
    SERVER_HEADER_BYTES: usize = 64 << 10, "server: bytes of header fields" = "64KiB",
        "Bounds the memory of one request.";
    SERVER_HANDSHAKE: Duration = Duration::from_secs(10), "server: TLS handshake" = "10s",
        "A peer that does not finish holds a connection for nothing.";
    MIN_TLS_VERSION: TlsVersion = TlsVersion::Tls12, "minTlsVersion" = "1.2",
        "Every member speaks 1.3; a caller from outside may know 1.2 only, whose suites here are sound (AEAD and ECDHE alone).";
    SERVER_HEADERS: Duration = Duration::from_secs(10), "server: request headers" = "10s",
        "Against slow senders.";
    SERVER_STREAMS: u32 = 250, "server: HTTP/2 streams a connection" = "250",
        "Bounds what one connection can ask for at a time.";
    METRIC_SERIES: usize = 2000, "metric series a process" = "2000",
        "Bounds memory and the scrape; what is above is counted under `_other`.";
    DRAIN_UNREADY: Duration = Duration::from_secs(5), "drain: unready before closing" = "5s",
        "Callers learn that the instance leaves before it refuses anything.";
    DRAIN_IN_FLIGHT: Duration = Duration::from_secs(25), "drain: calls in flight" = "25s",
        "Together with the 5s before it fits a grace period of 30s.";
}

/// The table, in the order of a call: time, connection, retry, balancing, ejection, ceilings, server.
pub fn table() -> &'static [DefaultInfo] {
    TABLE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::spec::{Interval, Ratio};

    /// A constant as a policy has it.
    pub(super) trait Show {
        fn show(&self, name: &str) -> String;
    }

    impl Show for Duration {
        fn show(&self, _: &str) -> String {
            Interval::new(*self).to_string()
        }
    }

    impl Show for u32 {
        fn show(&self, name: &str) -> String {
            match name.ends_with("_MILLI") {
                true => Ratio::from_milli(*self).to_string(),
                false => self.to_string(),
            }
        }
    }

    impl Show for usize {
        fn show(&self, _: &str) -> String {
            match self {
                bytes if bytes.is_multiple_of(1024) => format!("{}KiB", bytes / 1024),
                count => count.to_string(),
            }
        }
    }

    macro_rules! show {
        ($($ty:ty),*) => {$(
            impl Show for $ty {
                fn show(&self, _: &str) -> String {
                    self.to_string()
                }
            }
        )*};
    }
    show!(bool, u16, LatencyMode, TlsVersion);

    #[test]
    fn what_the_table_shows_is_what_the_constants_hold() {
        assert_eq!(shown().len(), table().len());
        for (name, constant, text) in shown() {
            assert_eq!(constant, text, "{name}");
        }
    }

    #[test]
    fn every_default_has_a_reason() {
        assert!(table().iter().all(|d| d.because.len() > 10));
    }
}
