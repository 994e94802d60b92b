//! Connections: how they are opened and accepted, and the pool of those to one endpoint.
//!
//! [`EndpointPool`] drives hyper's connections itself, because the things that decide whether a
//! call is lost are in the hand-over: whether a connection that waited in the pool is still alive,
//! whether a request that failed was written at all, and what a GOAWAY means for the calls on it.

mod accept;
mod both_ways;
mod coalesce;
mod config;
mod connect;
mod ends;
mod error;
mod eyeballs;
mod forward;
mod h1;
mod h2;
mod info;
mod io;
mod pool;
mod request;
mod tunnelled;

pub use self::accept::{Accept, AcceptOptions, TcpAccept, listen};
pub use self::both_ways::both_ways;
pub use self::config::{H2Settings, PoolConfig, Protocol};
pub use self::connect::{Connect, TcpConnect};
pub use self::info::ConnInfo;
pub use self::io::{BoxIo, Io, abort};
pub use self::pool::{EndpointPool, PoolStats};

pub(crate) use self::ends::Lingering;
pub(crate) use self::forward::forward_writes;
pub(crate) use self::h1::given;
pub(crate) use self::io::reset;
pub(crate) use self::pool::{Bytes, Held, Kept, Room};
pub(crate) use self::tunnelled::{Resets, tunnelled};

/// What comes of a request: if nothing of it was written, the error has it.
type Sent = Result<
    http::Response<hyper::body::Incoming>,
    hyper::client::conn::TrySendError<http::Request<crate::body::MeshBody>>,
>;

#[cfg(test)]
mod tests;
