//! The validated policy: private fields, made only by [`validate`](super::validate) (the tunables
//! also by hand, for layers that are used alone).
//!
//! A [`Snapshot`] is immutable. Parts that an update did not change are the same `Arc` as before,
//! so readers can tell by pointer what is new. On the path of a call positions are used, not
//! names: a route's [`Split`] yields a [`BackendIx`].

mod access;
mod backend;
mod balance;
mod breaker;
mod connection;
mod criticality;
mod direct;
mod ejection;
mod fault;
mod filter;
mod health;
mod hedge;
mod matches;
mod mirror;
mod origins;
mod rate_limit;
mod retry;
mod route;
mod session;
mod snapshot;
mod split;
mod throttle;
mod traffic;
mod transport;
mod tunables;

pub use access::{AccessMode, AccessModel, AccessRule, GrpcPattern, Operation, PathPattern, Peer};
pub use backend::{
    AppProtocol, Backend, BackendIx, BackendKey, BudgetPolicy, CeilingsPolicy, Discovery, TlsMode,
};
pub use balance::{Algorithm, BalancePolicy, HashKey, HashOn, LocalityPolicy, SubsetFallback};
pub use breaker::BreakerPolicy;
pub use connection::ConnectionPolicy;
pub use criticality::{CriticalityPolicy, CriticalityRule};
pub use direct::DirectResponse;
pub use ejection::{EjectionPolicy, LatencyMode};
pub use fault::{AbortStatus, Fault, FaultAbort, FaultDelay, WHOLE_PERCENT_MILLI};
pub use filter::{Filter, HeaderEdit, PathEdit, Redirect, Rewrite};
pub use health::{HealthPolicy, HealthProbe, HealthTiming};
pub use hedge::HedgePolicy;
pub use matches::{HeaderMatch, Hostname, PathMatch, Pattern, QueryMatch, RouteMatch, ValueMatch};
pub use mirror::Mirror;
pub(crate) use origins::Origins;
pub use rate_limit::{RateKey, RateLimit, RateOverride};
pub use retry::{NonIdempotent, RetryPolicy, RouteTimeouts};
pub use route::{Origin, Route};
pub use session::{SessionLifetime, SessionPolicy, SessionType};
pub(crate) use snapshot::Attached;
pub use snapshot::{Inbound, Outbound, Service, Snapshot};
pub use split::{Split, Target};
pub use throttle::ThrottlePolicy;
pub use traffic::{ConcurrencyAlgorithm, ConcurrencyPolicy, InboundTraffic, QueuePolicy};
pub(crate) use transport::OnPort;
pub use transport::{Exception, MtlsMode, Network, TlsVersion, TransportModel};
