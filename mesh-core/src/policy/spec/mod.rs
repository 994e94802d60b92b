//! The schema: what can be written, as plain data and without opinions.
//!
//! Field names follow Gateway API v1, Envoy (ejection, ceilings) and Finagle (budget), in
//! camelCase. Unknown fields are refused; a field that has a default may be left out. Whether the
//! values make sense together is decided by [`validate`](super::validate) alone.
//!
//! The types are plain structs, because they are also what travels: a message of the wire is a
//! field copy of a resource. `serde` serves programs; texts written by people are decoded by
//! [`text`](super::text), which goes on after an error and knows the place of each value.

mod access;
mod backend;
mod balance;
mod common;
mod describe;
mod ejection;
mod extension;
mod ratio;
mod resilience;
mod resource;
mod route;
mod schema;
mod service;
mod traffic;
mod transport;

use std::collections::BTreeMap;

pub use access::{AccessMode, AccessPolicySpec, AccessRule, PeerSelector, RequestSelector};
pub use backend::{BackendPolicySpec, Ceilings, RetryBudget};
pub use balance::{Algorithm, CookieHash, HashOn, LoadBalancing, Locality, Orca};
pub use common::{Interval, IntervalError, Metadata, Provenance, TargetKind, TargetRef};
pub use describe::json_schema;
pub(crate) use describe::{Describe, Field, Types};
pub use ejection::{FailurePercentage, LatencyMode, LatencyOutlier, OutlierDetection, SuccessRate};
pub use extension::{
    Abort, Delay, DirectResponseSpec, FaultHeader, FaultSpec, GrpcCode, StickySplitSpec,
    TrailerEditSpec,
};
pub use ratio::{Ratio, StatusRange};
pub use resilience::{Breaker, Connection, GrpcProbe, HealthCheck, Hedging, HttpProbe, TcpProbe};
pub use resource::{
    AccessPolicy, BackendPolicy, DirectResponse, Fault, GrpcRoute, HttpRoute, Kind, Resource,
    ResourceId, Service, StickySplit, TrafficPolicy, TrailerEdit, TransportPolicy,
};
pub use route::{
    BackendRef, CookieConfig, ExtensionRef, Filter, FilterType, GrpcMatchType, GrpcMethodMatch,
    GrpcRouteMatch, GrpcRouteRule, GrpcRouteSpec, HeaderFilter, HeaderMatch, HeaderValue,
    HttpRouteMatch, HttpRouteRule, HttpRouteSpec, MirrorFilter, MirrorFraction, NonIdempotent,
    ParentRef, PathMatch, PathMatchType, PathModifier, PathModifierType, QueryParamMatch,
    RedirectFilter, Retry, RewriteFilter, SessionLifetime, SessionPersistence, SessionType,
    Timeouts, ValueMatchType,
};
pub use service::{
    AppProtocol, DnsEndpoints, Endpoints, ExternalEndpoints, RegisteredEndpoints, ServicePort,
    ServiceSpec, StaticEndpoint, SubsetFallback,
};
pub use traffic::{
    Concurrency, ConcurrencyAlgorithm, Criticality, CriticalityRule, CriticalityRules,
    InboundTraffic, OutboundTraffic, Queue, RateKey, RateLimit, RateOverride, Throttle,
    TrafficPolicySpec,
};
pub use transport::{MtlsMode, PlaintextException, TlsVersion, TransportPolicySpec};

pub(crate) use schema::{choice, schema};

use super::text::{Decoder, Node, Tree};

/// The fields of a struct of the schema, in the order of its definition.
pub trait Fields {
    /// The keys, as written in a policy text.
    const FIELDS: &'static [&'static str];
}

/// Reads a value from a located tree; what is wrong is noted in the decoder, and reading goes on.
pub(crate) trait Decode: Sized {
    /// `None` when the value could not be read; the reason has been noted then.
    fn decode(node: &Node, cx: &mut Decoder) -> Option<Self>;
}

/// Writes a value as a tree, fields in the order of their definition.
pub(crate) trait Encode {
    /// The tree of this value.
    fn encode(&self) -> Tree;
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

// === impl Decode, Encode for standard types ===

impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node, cx: &mut Decoder) -> Option<Self> {
        if node.is_null() {
            return Some(None);
        }
        T::decode(node, cx).map(Some)
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self) -> Tree {
        self.as_ref().map_or(Tree::Null, Encode::encode)
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, cx: &mut Decoder) -> Option<Self> {
        cx.sequence(node)
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn encode(&self) -> Tree {
        Tree::Seq(self.iter().map(Encode::encode).collect())
    }
}

impl<T: Decode> Decode for BTreeMap<String, T> {
    fn decode(node: &Node, cx: &mut Decoder) -> Option<Self> {
        cx.map_of(node)
    }
}

impl<T: Encode> Encode for BTreeMap<String, T> {
    fn encode(&self) -> Tree {
        Tree::Map(
            self.iter()
                .map(|(key, value)| (key.clone(), value.encode()))
                .collect(),
        )
    }
}

impl Decode for String {
    fn decode(node: &Node, cx: &mut Decoder) -> Option<Self> {
        cx.string(node)
    }
}

impl Encode for String {
    fn encode(&self) -> Tree {
        Tree::Str(self.clone())
    }
}

impl Decode for bool {
    fn decode(node: &Node, cx: &mut Decoder) -> Option<Self> {
        cx.boolean(node)
    }
}

impl Encode for bool {
    fn encode(&self) -> Tree {
        Tree::Bool(*self)
    }
}

impl Decode for u16 {
    fn decode(node: &Node, cx: &mut Decoder) -> Option<Self> {
        cx.integer(node, u16::MAX.into())
            .and_then(|n| n.try_into().ok())
    }
}

impl Encode for u16 {
    fn encode(&self) -> Tree {
        Tree::Int((*self).into())
    }
}

impl Decode for u32 {
    fn decode(node: &Node, cx: &mut Decoder) -> Option<Self> {
        cx.integer(node, u32::MAX.into())
            .and_then(|n| n.try_into().ok())
    }
}

impl Encode for u32 {
    fn encode(&self) -> Tree {
        Tree::Int((*self).into())
    }
}
