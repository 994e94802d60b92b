//! The data plane of the mesh: clients and servers as tower layers, transport, TLS and discovery.

pub mod access;
pub mod access_log;
pub mod attempt;
pub mod balance;
pub mod body;
pub mod breaker;
pub mod bulkhead;
pub mod catch_panic;
pub mod ceiling;
pub mod client;
pub mod coalesce;
pub mod context;
pub mod criticality;
pub mod deadline;
pub mod discover;
pub mod drain;
pub mod ejection;
pub mod endpoint;
mod expect;
pub mod fallback;
mod fault;
pub mod headers;
pub mod health;
mod health_check;
pub mod hedge;
mod live_view;
pub mod load_report;
pub mod mesh;
pub mod metrics;
mod mirror;
pub mod overload;
pub mod ratelimit;
pub mod report;
pub mod rescue;
pub mod retry;
pub mod route;
pub mod runtime;
pub mod server;
pub mod stack;
pub mod tcp;
pub mod telemetry;
pub mod testkit;
pub mod throttle;
pub mod timeout;
pub mod tls;
pub mod trace;
mod traffic;
pub mod transport;
pub mod upgrade;

/// Any error, as tower and hyper pass it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub use self::body::MeshBody;
pub use self::client::MeshClient;
pub use self::mesh::{Feed, Mesh, MeshBuilder};
pub use mesh_core::error::{ErrorKind, MeshError};
