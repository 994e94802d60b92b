//! The assembled inbound side: listeners, connections and the stack that every request passes.
//!
//! ```text
//! accept -> mutual TLS -> h1 or h2 -> catch panic -> trace -> metrics -> access log -> rescue
//!        -> deadline -> health -> access -> criticality -> rate limit -> overload -> timeout -> your layers and service
//! ```
//!
//! The order, with its reasons, is [`SERVER_ORDER`](crate::stack::SERVER_ORDER); a test asserts
//! that a built stack is in that order. [`ServerBuilder`] owns sockets and TLS; [`ServerLayer`] is
//! the same stack for those who keep their own server, from *catch panic* inwards.
//!
//! ```no_run
//! # async fn run() -> Result<(), mesh_tower::MeshError> {
//! use mesh_tower::{Mesh, MeshBody};
//!
//! let mesh = Mesh::builder("shop/reviews").build()?;
//! let service = tower::service_fn(async |_request: http::Request<MeshBody>| {
//!     Ok::<_, std::convert::Infallible>(http::Response::new(MeshBody::full("hello")))
//! });
//! let server = mesh.server().bind("127.0.0.1:0")?.serve(service)?;
//! println!("listening on {}", server.local_addr());
//! server.done().await;
//! # Ok(()) }
//! ```
//!
//! # Drain
//!
//! ```text
//! Serving -> Unready (5 s: not ready, deregistered, still accepting)
//!         -> Draining (no new connection; GOAWAY or `connection: close`; up to 25 s)
//!         -> Done
//! ```

mod accept;
mod admit;
mod builder;
mod bytes;
mod config;
mod connection;
mod detect;
mod dispatch;
mod drive;
mod ends;
mod handle;
mod ingress;
mod layer;
mod line;
mod mesh;
mod pace;
mod scope;
mod secure;
mod serve;
mod signal;
mod stack;
#[cfg(test)]
mod tests;
mod tunnel;
mod util;

pub(crate) use self::ends::is_endless;
pub(crate) use self::ingress::{Outside, host};
pub(crate) use self::tunnel::accepted;
pub(crate) use self::util::{is_buffered, with_rng};
pub use self::{
    builder::ServerBuilder,
    config::{Limits, TlsChoice},
    handle::ServerHandle,
    ingress::Ingress,
    layer::{ServerLayer, ServerService},
    scope::{Scope, ScopeFuture, ScopeLayer},
};
