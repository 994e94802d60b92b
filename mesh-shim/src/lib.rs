//! The mesh beside an application that cannot link it.
//!
//! The shim adds no policy logic: inbound it is the server stack of `mesh-tower` whose service is a
//! client to the application's port; outbound it is plain listeners whose service is the mesh's
//! client. What is its own is configuration, listeners and the life of the application's process.
//!
//! ```text
//! mesh ==mTLS==> :7143 server stack -> 127.0.0.1:PORT   the application
//! application -> :7140 forward proxy, or one port per service -> client stack ==mTLS==> mesh
//! ```

mod cli;
mod config;
mod error;
mod logging;
mod proxy;
mod supervise;

pub use self::config::{
    App, AppProtocol, Config, DrainTimes, HEALTH, INBOUND, JoinOptions, METRICS, OUTBOUND, Upstream,
};
pub use self::error::ShimError;
