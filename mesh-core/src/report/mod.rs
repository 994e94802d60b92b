//! What a process tells the control server once a second: plain data, already added up.

mod histogram;
mod shared;

pub use histogram::Histogram;
pub(crate) use histogram::{BUCKETS, bucket_of, middle_of};
pub use shared::SharedHistogram;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// The aggregates of one interval of one process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Calls made, by destination and route.
    pub edges: Vec<EdgeReport>,
    /// State of the endpoints called.
    pub endpoints: Vec<EndpointReport>,
    /// Calls taken, by caller.
    pub inbound: Vec<InboundReport>,
    /// Connections taken in plaintext during the interval.
    pub plaintext_peers: u64,
    /// Where they came from.
    pub plaintext_sources: Vec<PlaintextSource>,
}

/// Plaintext from one address: callers that a switch to `Strict` would cut off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaintextSource {
    /// The address.
    pub source: IpAddr,
    /// Connections taken in the interval.
    pub connections: u64,
    /// Calls that began on its connections in the interval.
    pub calls: u64,
}

/// Calls from this process along one route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EdgeReport {
    /// Destination, `shop/reviews`.
    pub to: String,
    /// Name of the route, `(none)` without one.
    pub route: String,
    /// Calls that ended.
    pub calls: u64,
    /// Of those, failed as the caller sees it.
    pub failures: u64,
    /// Attempts beyond the first.
    pub retries: u64,
    /// Calls that failed at least once and then succeeded.
    pub rescued: u64,
    /// Failures by code: `M2003`, or the status (`503`, `grpc-14`).
    pub codes: BTreeMap<String, u64>,
    /// Durations of the calls.
    pub latency: Histogram,
    /// All connections used were mutual TLS.
    pub mtls: bool,
}

/// One endpoint as this process sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointReport {
    /// Its service, `shop/reviews`.
    pub service: String,
    /// Its address.
    pub addr: SocketAddr,
    /// Whether it is in rotation.
    pub state: EndpointHealth,
    /// Why not, or why it fails, in words.
    pub reason: Option<String>,
    /// Calls in flight.
    pub in_flight: u32,
    /// Estimated latency in microseconds (peak EWMA).
    pub ewma_us: u64,
    /// Attempts that ended in the interval.
    pub calls: u64,
    /// Of those, failed.
    pub failures: u64,
    /// The last failure's code.
    pub last_code: Option<String>,
}

/// Whether an endpoint is in rotation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndpointHealth {
    /// In rotation.
    #[default]
    Available,
    /// Out of rotation for a time.
    Ejected,
    /// One probe call decides whether it comes back.
    Probing,
    /// Connections to it fail.
    Unreachable,
    /// Active health checks of it fail.
    Unhealthy,
}

/// Calls to this process from one caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InboundReport {
    /// SPIFFE id of the caller, or `plaintext`.
    pub from: String,
    /// Calls that ended.
    pub calls: u64,
    /// Of those, answered with a failure.
    pub failures: u64,
    /// Of those, refused by an access policy.
    pub denied: u64,
    /// Failures by code.
    pub codes: BTreeMap<String, u64>,
    /// Calls that began, by what the caller said of their routing: the text of a
    /// [`Stamp`](crate::context::Stamp). Copies of calls are left out.
    pub routed: BTreeMap<String, u64>,
    /// Calls that began without such a stamp: they came past any split.
    pub unrouted: u64,
}

// === impl EndpointReport ===

impl Default for EndpointReport {
    fn default() -> Self {
        Self {
            service: String::new(),
            addr: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            state: EndpointHealth::default(),
            reason: None,
            in_flight: 0,
            ewma_us: 0,
            calls: 0,
            failures: 0,
            last_code: None,
        }
    }
}

// === impl EdgeReport ===

impl EdgeReport {
    /// Adds another interval, or another process, of the same edge.
    pub fn merge(&mut self, other: &Self) {
        // An edge is mutual TLS only while every part of it that carried calls is.
        self.mtls = match (self.calls, other.calls) {
            (0, _) => other.mtls,
            (_, 0) => self.mtls,
            _ => self.mtls && other.mtls,
        };
        self.calls = self.calls.saturating_add(other.calls);
        self.failures = self.failures.saturating_add(other.failures);
        self.retries = self.retries.saturating_add(other.retries);
        self.rescued = self.rescued.saturating_add(other.rescued);
        add_codes(&mut self.codes, &other.codes);
        self.latency.merge(&other.latency);
    }

    /// Share of calls that succeeded, 0 to 1; 1 without calls.
    pub fn success(&self) -> f64 {
        share(self.calls.saturating_sub(self.failures), self.calls)
    }

    /// What [`EdgeReport::success`] would be had no attempt been repeated.
    pub fn success_without_retries(&self) -> f64 {
        let lost = self.failures.saturating_add(self.rescued);
        share(self.calls.saturating_sub(lost), self.calls)
    }
}

// === impl InboundReport ===

impl InboundReport {
    /// Adds another interval, or another process, of the same caller.
    pub fn merge(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.failures = self.failures.saturating_add(other.failures);
        self.denied = self.denied.saturating_add(other.denied);
        self.unrouted = self.unrouted.saturating_add(other.unrouted);
        add_codes(&mut self.codes, &other.codes);
        add_codes(&mut self.routed, &other.routed);
    }
}

// === impl EndpointHealth ===

impl fmt::Display for EndpointHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Available => "available",
            Self::Ejected => "ejected",
            Self::Probing => "probing",
            Self::Unreachable => "unreachable",
            Self::Unhealthy => "unhealthy",
        })
    }
}

fn add_codes(to: &mut BTreeMap<String, u64>, from: &BTreeMap<String, u64>) {
    for (code, count) in from {
        let sum = to.entry(code.clone()).or_default();
        *sum = sum.saturating_add(*count);
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        1.0
    } else {
        part as f64 / whole as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(calls: u64, failures: u64, rescued: u64, mtls: bool) -> EdgeReport {
        EdgeReport {
            calls,
            failures,
            rescued,
            mtls,
            codes: BTreeMap::from([("503".to_owned(), failures)]),
            ..EdgeReport::default()
        }
    }

    #[test]
    fn rescued_says_what_success_would_be_without_retries() {
        let edge = edge(1000, 5, 19, true);
        assert!((edge.success() - 0.995).abs() < 1e-9);
        assert!((edge.success_without_retries() - 0.976).abs() < 1e-9);
        assert!((EdgeReport::default().success() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_merge_adds_up_and_one_plaintext_part_makes_the_edge_plaintext() {
        let mut sum = EdgeReport::default();
        sum.merge(&edge(10, 1, 0, true));
        assert!(sum.mtls);
        sum.merge(&edge(5, 2, 0, false));
        assert_eq!((sum.calls, sum.failures, sum.mtls), (15, 3, false));
        assert_eq!(sum.codes["503"], 3);
    }

    #[test]
    fn a_report_survives_json() {
        let report = Report {
            edges: vec![edge(3, 1, 1, true)],
            endpoints: vec![EndpointReport::default()],
            inbound: vec![InboundReport::default()],
            plaintext_peers: 2,
            plaintext_sources: Vec::new(),
        };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        assert_eq!(
            serde_json::from_str::<Report>("{}").unwrap(),
            Report::default()
        );
    }
}
