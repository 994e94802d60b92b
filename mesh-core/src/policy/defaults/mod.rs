//! Every default of the policy, each with the reason for its number.
//!
//! The constants are what the model uses; [`table`] is the same list for people (documentation,
//! `meshctl`). A number is written here and nowhere else.

use std::time::Duration;

use super::spec::TlsVersion;

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
    };
}

defaults! {
    REQUEST_TIMEOUT: Duration = Duration::from_secs(15), "timeouts.request" = "15s",
        "A call without a deadline hangs as long as its server does; Envoy and Kuma use 15s. The caller's remaining time counts when it is shorter.";
    STREAM_IDLE: Duration = Duration::from_secs(300), "timeouts.idle (streams)" = "5m",
        "A stream may last; one that is silent for five minutes (Envoy's number) has lost its peer.";
    WAIT_FOR_ENDPOINT: Duration = Duration::from_secs(5), "waiting for an endpoint" = "5s",
        "Or the deadline, if sooner; then an error that says why. Waiting for ever hides the fault.";
    CONNECT_TIMEOUT: Duration = Duration::from_secs(1), "connectTimeout" = "1s",
        "Per address. Within a data centre an answer takes milliseconds; Linkerd uses 1s.";
    HAPPY_EYEBALLS: Duration = Duration::from_millis(250), "second address family after" = "250ms",
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
    MAX_CONNECTIONS: u32 = 1024, "ceilings.maxConnections" = "1024", "Envoy's number.";
    MAX_PENDING: u32 = 1024, "ceilings.maxPendingRequests" = "1024", "Envoy's number.";
    MAX_REQUESTS: u32 = 1024, "ceilings.maxRequests" = "1024", "Envoy's number.";
    MAX_RETRIES: u32 = 3, "ceilings.maxRetries" = "3",
        "Retries in flight beside those that the budget pays for (Envoy).";
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
    use crate::policy::spec::Interval;

    #[test]
    fn what_the_table_shows_is_what_the_constants_hold() {
        let shown = |knob: &str| table().iter().find(|d| d.knob == knob).unwrap().value;
        for (knob, value) in [
            ("timeouts.request", REQUEST_TIMEOUT),
            ("connectTimeout", CONNECT_TIMEOUT),
            ("retry.backoff", BACKOFF_BASE),
            ("retryBudget.interval", BUDGET_INTERVAL),
            ("loadBalancing.decay", EWMA_DECAY),
            ("loadBalancing.defaultRtt", DEFAULT_RTT),
            ("loadBalancing.failurePenalty", FAILURE_PENALTY),
            ("loadBalancing.slowStart", SLOW_START),
            ("outlierDetection.interval", EJECT_INTERVAL),
            ("outlierDetection.ejectFor", EJECT_FOR),
            ("outlierDetection.maxEjectFor", MAX_EJECT_FOR),
            ("waiting for an endpoint", WAIT_FOR_ENDPOINT),
            ("timeouts.idle (streams)", STREAM_IDLE),
            ("second address family after", HAPPY_EYEBALLS),
            ("longest pause before a retry", BACKOFF_MAX),
            ("server: TLS handshake", SERVER_HANDSHAKE),
            ("server: request headers", SERVER_HEADERS),
            ("drain: unready before closing", DRAIN_UNREADY),
            ("drain: calls in flight", DRAIN_IN_FLIGHT),
        ] {
            assert_eq!(shown(knob), Interval::new(value).to_string(), "{knob}");
        }
        for (knob, value) in [
            ("retryBudget.percent", BUDGET_PERCENT),
            ("retryBudget.minRetriesPerSecond", BUDGET_MIN_PER_SECOND),
            ("loadBalancing.panicPercent", PANIC_PERCENT),
            ("outlierDetection.consecutiveErrors", EJECT_CONSECUTIVE),
            ("outlierDetection.failurePercent", EJECT_FAILURE_PERCENT),
            ("outlierDetection.minimumCalls", EJECT_MINIMUM_CALLS),
            ("outlierDetection.maxEjectedPercent", MAX_EJECTED_PERCENT),
            ("ceilings.maxConnections", MAX_CONNECTIONS),
            ("ceilings.maxPendingRequests", MAX_PENDING),
            ("ceilings.maxRequests", MAX_REQUESTS),
            ("ceilings.maxRetries", MAX_RETRIES),
        ] {
            assert_eq!(shown(knob), value.to_string(), "{knob}");
        }
        assert_eq!(shown("minTlsVersion"), MIN_TLS_VERSION.to_string());
    }

    #[test]
    fn every_default_has_a_reason() {
        assert!(table().iter().all(|d| d.because.len() > 10));
    }
}
