//! The server half: what each connection must be told.
//!
//! ```
//! use mesh_grpc::engine::server::{Config, Engine};
//! use mesh_grpc::pb::discovery::DeltaDiscoveryRequest;
//!
//! let mut engine = Engine::new(Config::default());
//! engine.update("type.mesh/policy.v1.EndpointSet", "shop/reviews", Some(b"one endpoint".as_slice().into()));
//! let connection = engine.connect();
//! engine.on_request(connection, &DeltaDiscoveryRequest {
//!     type_url: "type.mesh/policy.v1.EndpointSet".into(),
//!     resource_names_subscribe: vec!["shop/reviews".into()],
//!     ..Default::default()
//! }).unwrap();
//! let response = engine.poll(connection).unwrap();
//! assert_eq!(response.resources[0].name, "shop/reviews");
//! assert!(engine.poll(connection).is_none());
//! ```
//!
//! A connection of one type:
//!
//! ```text
//!            names, changes                     ACK: what was sent is held
//!   [idle] ------------------> [in flight] --------------------------------> [idle]
//!                                   |  NACK: what was sent is refused
//!                                   v
//!                               [refused] -- a change of a subscribed name --> the change alone,
//!                                             then once more what was refused
//! ```

mod engine;
mod store;
mod subscription;
#[cfg(test)]
mod tests;
mod view;

pub use engine::{Config, ConnectionId, Engine};
pub use view::{ConnectionView, TypeView};
