//! Raw TCP: bytes between a client and an endpoint of a service, by the same engine as calls.
//!
//! A port is one of bytes when the policy says `appProtocol: tcp` of it, or the application does.
//! Nothing is detected, so protocols in which the server speaks first work.
//!
//! [`TcpClient`] picks an endpoint as a call does: balancing, locality, ejection, the breaker, the
//! ceilings on connections and on what waits, mutual TLS. The pick counts as load until the
//! connection ends. A connection that cannot be made says so to ejection, and another endpoint is
//! tried as long as the retry budget pays, since not one byte was written.
//!
//! What is not for bytes is left out: a route counts if it limits neither host, path, method, header
//! nor query; of it the split counts, by weight. Filters, mirrors, faults, sessions, hedging and time
//! limits of requests do not. With a consistent hash this process is the key.
//!
//! Between two peers of the mesh the ALPN name is `mesh-tcp/1`. After the handshake the server says
//! in two bytes what came of it: 0, or the number of an error code, after which it closes. So a
//! caller learns that it is denied, or that the application is not there, before it has written
//! anything. An end of one half is passed on as one, and what breaks off breaks off on the other
//! side too.
//!
//! ```no_run
//! # async fn run() -> Result<(), mesh_tower::MeshError> {
//! use mesh_tower::Mesh;
//! use tokio::io::AsyncWriteExt;
//!
//! let mesh = Mesh::builder("web").policy_file("mesh.yaml").build()?;
//! let mut redis = mesh.tcp("redis:6379").connect().await?;
//! # let _ =
//! redis.write_all(b"PING\r\n").await;
//! # Ok(()) }
//! ```

mod client;
mod connection;
mod copy;
mod dial;
mod find;
mod meter;
mod open;
mod pass;
mod port;
mod record;
mod server;
mod sniff;
#[cfg(test)]
mod tests;

pub use self::client::TcpClient;
pub use self::connection::TcpConnection;
pub use self::copy::{End, Moved};
pub use self::find::Destination;
pub use self::port::{Carried, TcpPort};
pub use self::sniff::{Opening, sniff};

pub(crate) use self::dial::knock;
pub(crate) use self::server::{Application, Caller};
