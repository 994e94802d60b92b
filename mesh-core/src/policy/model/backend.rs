use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::tunables::tunables;
use super::{
    BalancePolicy, BreakerPolicy, ConnectionPolicy, EjectionPolicy, HashOn, HealthPolicy,
    HedgePolicy, LocalityPolicy, Origins, SubsetFallback, ThrottlePolicy,
};
use crate::balance::EndpointInfo;
use crate::identity::SpiffeId;
use crate::name::ServiceName;
use crate::policy::defaults;
use crate::policy::spec::ResourceId;

tunables! {
    /// Limits on what is open at a time, per destination and process.
    pub struct CeilingsPolicy {
        /// Connections.
        connections / with_connections: u32 = defaults::MAX_CONNECTIONS;
        /// Calls that wait for an endpoint or a connection.
        pending / with_pending: u32 = defaults::MAX_PENDING;
        /// Calls in flight.
        requests / with_requests: u32 = defaults::MAX_REQUESTS;
        /// Retries in flight beside those that the budget pays for.
        retries / with_retries: u32 = defaults::MAX_RETRIES;
    }
}

tunables! {
    /// How many retries the calls of a destination earn: in any interval at most `percent` of the
    /// calls, plus `min_per_second` for each second of it.
    pub struct BudgetPolicy {
        /// Retries per 100 calls.
        percent / with_percent: u32 = defaults::BUDGET_PERCENT;
        /// Length of the window, 1 s to 60 s.
        interval / with_interval: Duration = defaults::BUDGET_INTERVAL;
        /// Retries a second that are there without any calls.
        min_per_second / with_min_per_second: u32 = defaults::BUDGET_MIN_PER_SECOND;
    }
}

/// Position of a backend in [`Outbound::backends`](super::Outbound::backends) of the same snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendIx(pub(crate) u32);

/// What needs connections of its own: name, protocol, TLS mode, expected identity. No tunable is
/// part of it, so changing a threshold keeps connections and load estimates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendKey {
    pub(crate) name: Arc<str>,
    pub(crate) protocol: AppProtocol,
    pub(crate) tls: TlsMode,
    pub(crate) identity: Option<SpiffeId>,
}

/// What is spoken to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum AppProtocol {
    /// HTTP/1.1, or HTTP/2 where TLS negotiates it; gRPC calls always take HTTP/2.
    #[default]
    Http,
    /// HTTP/2; in plaintext with prior knowledge.
    Http2,
    /// gRPC over HTTP/2.
    Grpc,
    /// Bytes.
    Tcp,
}

/// How connections to a backend are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum TlsMode {
    /// Mutual TLS with every endpoint that has an identity; plaintext only for those without one.
    #[default]
    Mesh,
    /// TLS checked by the roots of the system, without a certificate of our own.
    System,
    /// None.
    Plaintext,
}

/// Where the endpoints of a backend come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Discovery {
    /// A fixed list.
    Static(Arc<[EndpointInfo]>),
    /// The answers of DNS.
    Dns {
        /// Name to ask for.
        host: Arc<str>,
        /// Port of each address; `None` with SRV records, which carry it.
        port: Option<u16>,
        /// Whether to ask for SRV records.
        srv: bool,
    },
    /// Instances that register themselves under this service.
    Registered(ServiceName),
    /// A server outside the mesh, by DNS.
    External {
        /// Host, also the name in its certificate.
        host: Arc<str>,
        /// Port.
        port: u16,
    },
}

/// A target of routes: where calls go, and how its endpoints are treated.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    pub(crate) ix: BackendIx,
    pub(crate) key: BackendKey,
    pub(crate) service: ServiceName,
    pub(crate) port: Option<u16>,
    pub(crate) target_port: Option<u16>,
    pub(crate) subset: BTreeMap<String, String>,
    pub(crate) discovery: Discovery,
    pub(crate) balance: BalancePolicy,
    pub(crate) ejection: EjectionPolicy,
    pub(crate) ceilings: CeilingsPolicy,
    pub(crate) budget: BudgetPolicy,
    pub(crate) hash_on: Arc<[HashOn]>,
    pub(crate) locality: LocalityPolicy,
    pub(crate) subset_fallback: SubsetFallback,
    pub(crate) breaker: Option<BreakerPolicy>,
    pub(crate) hedge: Option<HedgePolicy>,
    pub(crate) health: Option<HealthPolicy>,
    pub(crate) connection: ConnectionPolicy,
    pub(crate) throttle: Option<ThrottlePolicy>,
    pub(crate) stream_idle: Option<Duration>,
    pub(crate) origins: Origins,
}

// === impl BackendIx ===

impl BackendIx {
    /// The position.
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

// === impl BackendKey ===

impl BackendKey {
    /// Name of the backend, such as `shop/reviews:8080`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What is spoken.
    pub fn protocol(&self) -> AppProtocol {
        self.protocol
    }

    /// How it is protected.
    pub fn tls(&self) -> TlsMode {
        self.tls
    }

    /// The identity that every endpoint must have, when all must have the same.
    pub fn identity(&self) -> Option<&SpiffeId> {
        self.identity.as_ref()
    }
}

impl fmt::Display for BackendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

// === impl Backend ===

impl Backend {
    /// Its position in the snapshot.
    pub fn ix(&self) -> BackendIx {
        self.ix
    }

    /// What needs connections of its own.
    pub fn key(&self) -> &BackendKey {
        &self.key
    }

    /// The service that it is.
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// The port that callers name.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The port at the endpoint, where it differs from what discovery says.
    pub fn target_port(&self) -> Option<u16> {
        self.target_port
    }

    /// Labels that an endpoint must have; empty takes all.
    pub fn subset(&self) -> &BTreeMap<String, String> {
        &self.subset
    }

    /// Whether an endpoint with `labels` belongs to the subset.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.subset.iter().all(|(k, v)| labels.get(k) == Some(v))
    }

    /// Where endpoints come from.
    pub fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    /// What is spoken.
    pub fn app_protocol(&self) -> AppProtocol {
        self.key.protocol
    }

    /// How connections are protected.
    pub fn tls(&self) -> TlsMode {
        self.key.tls
    }

    /// Which endpoint takes a call.
    pub fn balance(&self) -> &BalancePolicy {
        &self.balance
    }

    /// When an endpoint is taken out of rotation.
    pub fn ejection(&self) -> &EjectionPolicy {
        &self.ejection
    }

    /// Limits on what is open at a time.
    pub fn ceilings(&self) -> &CeilingsPolicy {
        &self.ceilings
    }

    /// How many retries the calls earn.
    pub fn budget(&self) -> &BudgetPolicy {
        &self.budget
    }

    /// Longest wait for a connection to one address.
    pub fn connect_timeout(&self) -> Duration {
        self.connection.connect_timeout()
    }

    /// What a hash is taken of, in this order (A42). Never empty with RingHash and Maglev.
    pub fn hash_on(&self) -> &Arc<[HashOn]> {
        &self.hash_on
    }

    /// How calls are divided between zones and priorities.
    pub fn locality(&self) -> &LocalityPolicy {
        &self.locality
    }

    /// Where calls go when no endpoint belongs to the [`subset`](Self::subset).
    pub fn subset_fallback(&self) -> SubsetFallback {
        self.subset_fallback
    }

    /// When calls fail at once; `None` is never.
    pub fn breaker(&self) -> Option<&BreakerPolicy> {
        self.breaker.as_ref()
    }

    /// When a call is sent a second time while the first is out; `None` is never.
    pub fn hedge(&self) -> Option<&HedgePolicy> {
        self.hedge.as_ref()
    }

    /// How endpoints are asked whether they are well; `None` is not at all.
    pub fn health(&self) -> Option<&HealthPolicy> {
        self.health.as_ref()
    }

    /// How connections are made, kept and ended.
    pub fn connection(&self) -> &ConnectionPolicy {
        &self.connection
    }

    /// When a client refuses calls itself; `None` is never.
    pub fn throttle(&self) -> Option<&ThrottlePolicy> {
        self.throttle.as_ref()
    }

    /// Longest silence in the middle of an answer; `None` is no limit.
    pub fn stream_idle(&self) -> Option<Duration> {
        self.stream_idle
    }

    /// The policy that sets a top-level field of a BackendPolicy, such as `outlierDetection`, or the
    /// `outbound` of a TrafficPolicy, for
    /// this backend. It sets all of the field: what it leaves out has its default. `None` where
    /// nobody does.
    pub fn origin(&self, field: &str) -> Option<&ResourceId> {
        self.origins.of(field)
    }
}
