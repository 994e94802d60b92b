use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::balance::EndpointInfo;
use crate::identity::SpiffeId;
use crate::name::ServiceName;
use crate::policy::defaults;
pub use crate::policy::spec::Algorithm;

/// Defines a set of tunables: private fields, a getter and a `with_` each, defaults from the table.
macro_rules! tunables {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* $field:ident / $with:ident : $ty:ty = $default:expr ; )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name { $( $field: $ty, )* }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl $name {
            $(
                $(#[$field_meta])*
                pub fn $field(&self) -> $ty { self.$field }

                #[doc = concat!("The same with another [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $with(mut self, $field: $ty) -> Self {
                    self.$field = $field;
                    self
                }
            )*
        }
    };
}

tunables! {
    /// Which endpoint takes a call.
    pub struct BalancePolicy {
        /// How it is chosen.
        algorithm / with_algorithm: Algorithm = Algorithm::PeakEwma;
        /// Time in which an old latency fades to 1/e.
        decay / with_decay: Duration = defaults::EWMA_DECAY;
        /// Latency assumed of an endpoint that has answered nothing yet.
        default_rtt / with_default_rtt: Duration = defaults::DEFAULT_RTT;
        /// Latency that a failed call counts as, at least.
        failure_penalty / with_failure_penalty: Duration = defaults::FAILURE_PENALTY;
        /// With fewer than this percentage of endpoints available, all are candidates; 0 never.
        panic_percent / with_panic_percent: u32 = defaults::PANIC_PERCENT;
        /// Time in which the share of a returning endpoint grows to its full size.
        slow_start / with_slow_start: Duration = defaults::SLOW_START;
    }
}

tunables! {
    /// When an endpoint is taken out of rotation.
    pub struct EjectionPolicy {
        /// Failures in a row that eject; 0 is off.
        consecutive_errors / with_consecutive_errors: u32 = defaults::EJECT_CONSECUTIVE;
        /// Percentage of failures within the interval that ejects; 0 is off.
        failure_percent / with_failure_percent: u32 = defaults::EJECT_FAILURE_PERCENT;
        /// Fewest calls in an interval for which the percentage counts.
        minimum_calls / with_minimum_calls: u32 = defaults::EJECT_MINIMUM_CALLS;
        /// Length of the window.
        interval / with_interval: Duration = defaults::EJECT_INTERVAL;
        /// Time out of rotation, times the number of ejections in a row.
        eject_for / with_eject_for: Duration = defaults::EJECT_FOR;
        /// Longest time out of rotation.
        max_eject_for / with_max_eject_for: Duration = defaults::MAX_EJECT_FOR;
        /// Most endpoints out at a time, in percent; never the last available one.
        max_ejected_percent / with_max_ejected_percent: u32 = defaults::MAX_EJECTED_PERCENT;
    }
}

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
    pub(crate) connect_timeout: Duration,
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
        self.connect_timeout
    }
}
