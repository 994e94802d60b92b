//! The validated policy: private fields, made only by [`validate`](super::validate) (the tunables
//! also by hand, for layers that are used alone).
//!
//! A [`Snapshot`] is immutable. Parts that an update did not change are the same `Arc` as before,
//! so readers can tell by pointer what is new. On the path of a call positions are used, not
//! names: a route's [`Split`] yields a [`BackendIx`].

mod access;
mod backend;
mod filter;
mod matches;
mod retry;
mod route;
mod snapshot;
mod split;
mod transport;

pub use access::{AccessMode, AccessModel, AccessRule, GrpcPattern, Operation, PathPattern, Peer};
pub use backend::{
    Algorithm, AppProtocol, Backend, BackendIx, BackendKey, BalancePolicy, BudgetPolicy,
    CeilingsPolicy, Discovery, EjectionPolicy, TlsMode,
};
pub use filter::{Filter, HeaderEdit, PathEdit, Redirect, Rewrite};
pub use matches::{HeaderMatch, Hostname, PathMatch, Pattern, QueryMatch, RouteMatch, ValueMatch};
pub use retry::{NonIdempotent, RetryPolicy, RouteTimeouts};
pub use route::{Origin, Route};
pub(crate) use snapshot::Attached;
pub use snapshot::{Inbound, Outbound, Service, Snapshot};
pub use split::{Split, Target};
pub use transport::{Exception, MtlsMode, Network, TlsVersion, TransportModel};
