//! The data plane of the mesh: clients and servers as tower layers, transport, TLS and discovery.

pub mod body;
pub mod discover;
pub mod drain;
pub mod runtime;
pub mod tls;
mod live_view;
pub mod transport;
pub mod shed;
pub mod server;
pub mod report;
pub mod health;
pub mod catch_panic;
pub mod access_log;
pub mod access;
pub mod telemetry;
pub mod trace;
pub mod timeout;
pub mod testkit;
pub mod stack;
pub mod route;
pub mod retry;
pub mod rescue;
pub mod metrics;
pub mod mesh;
pub mod headers;
pub mod endpoint;
pub mod ejection;
pub mod deadline;
pub mod context;
pub mod client;
pub mod ceiling;
pub mod balance;
pub mod attempt;

/// Any error, as tower and hyper pass it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub use self::body::MeshBody;
pub use self::client::MeshClient;
pub use self::mesh::{Feed, Mesh, MeshBuilder};
pub use mesh_core::error::{ErrorKind, MeshError};
