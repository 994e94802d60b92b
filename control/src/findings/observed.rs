//! What was observed.

use std::collections::BTreeSet;
use std::time::Duration;

use mesh_grpc::pb::control as pb;

use crate::report::{DeniedSum, EndpointSum, StrangerSum};
use crate::store::Refused;

/// Everything that is looked at.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    pub(crate) revision: String,
    pub(crate) resources: usize,
    pub(crate) warnings: usize,
    pub(crate) refused: Option<Refused>,
    pub(crate) clients: Vec<Client>,
    pub(crate) instances: usize,
    pub(crate) orphans: Vec<Gone>,
    pub(crate) lost: Vec<Gone>,
    pub(crate) endpoints: Vec<EndpointSum>,
    pub(crate) edges: Vec<(String, pb::EdgeReport)>,
    pub(crate) denied: Vec<DeniedSum>,
    pub(crate) plaintext: Vec<(String, u64)>,
    pub(crate) strangers: Vec<StrangerSum>,
    /// Services that take nobody without an identity, but for exceptions.
    pub(crate) strict: BTreeSet<String>,
    pub(crate) exceptions: Vec<Excepted>,
    pub(crate) splits: Vec<Split>,
    /// Service, process, end of validity in seconds since 1970.
    pub(crate) certificates: Vec<(String, String, i64)>,
    pub(crate) leaf_ttl: Duration,
    pub(crate) now_unix: i64,
}

/// An exception from mutual TLS in force, and who uses it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Excepted {
    /// The policy that makes it, `TransportPolicy shop/reviews`.
    pub(crate) policy: String,
    /// Addresses and port, as the policy has them.
    pub(crate) source: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) reason: Option<String>,
    /// In seconds since 1970.
    pub(crate) expires: i64,
    /// Addresses that called in plaintext within the long window and that it covers.
    pub(crate) users: Vec<std::net::IpAddr>,
}

/// A weighted split, and what its backends received in the short window.
#[derive(Debug, Default)]
pub(crate) struct Split {
    /// The service that is called, `shop/reviews`, and the name of the rule.
    pub(crate) service: String,
    pub(crate) route: String,
    pub(crate) targets: Vec<Share>,
}

/// One backend of a split.
#[derive(Debug, Default)]
pub(crate) struct Share {
    pub(crate) backend: String,
    pub(crate) weight: u32,
    /// Calls that a rule of the split's service sent.
    pub(crate) routed: u64,
    /// Others, by who made them.
    pub(crate) past: Vec<(String, u64)>,
}

/// One subscribed process.
#[derive(Debug, Default)]
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) nacks: Vec<String>,
    pub(crate) revision: String,
    pub(crate) behind_for: Option<Duration>,
}

/// An instance whose stream or lease has ended.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    pub(crate) service: String,
    pub(crate) addr: String,
    pub(crate) instance: String,
    /// Since the lease ended; for an orphan, until it ends.
    pub(crate) time: Duration,
}
