use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::tunables::tunables;
use crate::policy::defaults;
pub use crate::policy::spec::{Algorithm, SubsetFallback};

tunables! {
    /// Which endpoint takes a call.
    pub struct BalancePolicy {
        /// How it is chosen.
        algorithm / with_algorithm: Algorithm = Algorithm::PeakEwma;
        /// Time in which an old latency fades to 1/e (Finagle).
        decay / with_decay: Duration = defaults::EWMA_DECAY;
        /// Latency assumed of an endpoint that has answered nothing yet (Linkerd).
        default_rtt / with_default_rtt: Duration = defaults::DEFAULT_RTT;
        /// Latency that a failed call counts as, at least (Linkerd's load biaser).
        failure_penalty / with_failure_penalty: Duration = defaults::FAILURE_PENALTY;
        /// With fewer than this percentage of endpoints available, all are candidates; 0 never.
        panic_percent / with_panic_percent: u32 = defaults::PANIC_PERCENT;
        /// Whether calls fail in panic instead of trying every endpoint (Envoy's
        /// `fail_traffic_on_panic`).
        fail_on_panic / with_fail_on_panic: bool = defaults::FAIL_ON_PANIC;
        /// Time in which the share of a returning endpoint grows to its full size.
        slow_start / with_slow_start: Duration = defaults::SLOW_START;
        /// Share that a returning endpoint starts with, in percent (Envoy's `min_weight_percent`).
        slow_start_min_percent / with_slow_start_min_percent: u32 = defaults::SLOW_START_MIN_PERCENT;
        /// Shape of the growth, in thousandths: the share is (elapsed / window)^(1 / this); 1000 is
        /// a straight line (Envoy's `aggression`).
        slow_start_aggression_milli / with_slow_start_aggression_milli: u32 =
            defaults::SLOW_START_AGGRESSION_MILLI;
        /// How many endpoints are looked at for one call, 2 to 10 (A48; PeakEwma, LeastRequest).
        choices / with_choices: u32 = defaults::LB_CHOICES;
        /// How strongly calls in flight count, in thousandths: weight / (active + 1)^this (Envoy's
        /// `active_request_bias`; LeastRequest).
        request_bias_milli / with_request_bias_milli: u32 = defaults::REQUEST_BIAS_MILLI;
        /// Fewest places on the ring (RingHash).
        min_ring_size / with_min_ring_size: u32 = defaults::MIN_RING_SIZE;
        /// Most places on the ring, at most 8,388,608 (A42; RingHash).
        max_ring_size / with_max_ring_size: u32 = defaults::MAX_RING_SIZE;
        /// Places of the table, a prime of at most 5,000,011 (Maglev).
        maglev_table_size / with_maglev_table_size: u32 = defaults::MAGLEV_TABLE_SIZE;
        /// An endpoint whose calls in flight are above this percentage of the mean is passed over;
        /// 0 is off, else at least 100 (Envoy's `hash_balance_factor`; RingHash, Maglev).
        bounded_load_percent / with_bounded_load_percent: u32 = defaults::BOUNDED_LOAD_PERCENT;
        /// Time for which a new endpoint's reports do not count (A58).
        orca_blackout / with_orca_blackout: Duration = defaults::ORCA_BLACKOUT;
        /// Age at which a weight is forgotten (A58).
        orca_expiration / with_orca_expiration: Duration = defaults::ORCA_EXPIRATION;
        /// How often weights are computed anew, at least 100 ms (A58).
        orca_period / with_orca_period: Duration = defaults::ORCA_PERIOD;
        /// How strongly errors lower a weight, in thousandths (A58).
        orca_error_penalty_milli / with_orca_error_penalty_milli: u32 =
            defaults::ORCA_ERROR_PENALTY_MILLI;
        /// With more endpoints than this, each client uses an arc of them; 0 never (Finagle).
        aperture_above / with_aperture_above: u32 = defaults::APERTURE_ABOVE;
        /// Fewest endpoints of an arc (Finagle).
        aperture_min / with_aperture_min: u32 = defaults::APERTURE_MIN;
        /// Each client uses this many endpoints, chosen by rendezvous hash; 0 is off (A68).
        subset_size / with_subset_size: u32 = defaults::SUBSET_SIZE;
    }
}

tunables! {
    /// How calls are divided between zones and priorities.
    pub struct LocalityPolicy {
        /// A zone or priority with this much more than it needs, in percent, keeps all its calls
        /// when endpoints fail: health is min(100, this x healthy / total) (Envoy).
        overprovisioning_percent / with_overprovisioning_percent: u32 =
            defaults::OVERPROVISIONING_PERCENT;
        /// With fewer endpoints than this, zones are not looked at (Envoy's `min_cluster_size`).
        zone_aware_min_endpoints / with_zone_aware_min_endpoints: u32 =
            defaults::ZONE_AWARE_MIN_ENDPOINTS;
        /// Share of the calls for which the own zone is preferred, in percent; 0 is off (Envoy's
        /// `routing_enabled`).
        zone_routing_percent / with_zone_routing_percent: u32 = defaults::ZONE_ROUTING_PERCENT;
        /// Whether endpoints of a higher priority number take calls when those before them fail.
        failover / with_failover: bool = defaults::LOCALITY_FAILOVER;
    }
}

/// One part of what a consistent hash is taken of (A42; Gateway API has no such field).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HashOn {
    pub(crate) key: HashKey,
    pub(crate) terminal: bool,
}

/// A property of a request that has a hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HashKey {
    /// The value of a header.
    Header(HeaderName),
    /// The value of a cookie.
    Cookie {
        /// Its name.
        name: Arc<str>,
        /// With this, a caller without the cookie is given one that lives so long; zero is as long
        /// as the caller's session.
        ttl: Option<Duration>,
        /// `Path` of a cookie that is given.
        path: Option<Arc<str>>,
    },
    /// The caller: its identity, else its address.
    Source,
    /// The first value of a query parameter.
    Query(Arc<str>),
}

// === impl HashOn ===

impl HashOn {
    /// Hashes `key`, and goes on with the parts behind it.
    pub fn new(key: HashKey) -> Self {
        Self {
            key,
            terminal: false,
        }
    }

    /// The same; `terminal`: if this part is there, those behind it do not count (A42).
    #[must_use]
    pub fn with_terminal(mut self, terminal: bool) -> Self {
        self.terminal = terminal;
        self
    }

    /// What is hashed.
    pub fn key(&self) -> &HashKey {
        &self.key
    }

    /// Whether the parts behind it do not count once this one is there.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }
}
