//! A whole mesh on virtual time: the real client and server stacks, in-memory endpoints with
//! latencies, capacity, zones and faults, and seeded load. Nothing of it opens a port, an hour
//! passes in seconds, and a seed always gives the same log, byte for byte.
//!
//! ```text
//! load --calls--> caller's MeshClient --in-memory connections--> host --calls--> next service
//!                                                                 |
//!                              (the mesh's server stack) -> queue and capacity -> latency -> answer
//! ```
//!
//! A scenario is written in Rust:
//!
//! ```
//! use std::time::Duration;
//! use mesh_tower::testkit::sim::{Behaviour, Change, Latency, Load, Scenario, Service};
//!
//! let millis = Duration::from_millis;
//! let outcome = Scenario::new("one of three fails at once")
//!     .seed(7)
//!     .lasting(Duration::from_secs(5))
//!     .service(Service::new("shop/reviews", 3).behaving(Behaviour::default().taking(Latency::fixed(millis(4)))))
//!     .load(Load::new("shop/reviews", 100.0))
//!     .at(Duration::from_secs(1), Change::behave("reviews#0", Behaviour::failing(503, 1.0)))
//!     .run()
//!     .unwrap();
//! assert!(outcome.arrivals("reviews#0", Duration::from_secs(2)..).count() < 20);
//! ```
//!
//! or in YAML ([`Scenario::from_yaml`]; `cargo run -p mesh-tower --example simulate -- FILE`):
//!
//! ```
//! # use mesh_tower::testkit::sim::Scenario;
//! let scenario = Scenario::from_yaml("
//! name: one of three fails at once
//! for: 5s
//! services:
//!   shop/reviews: { endpoints: 3, latency: { fixed: 4ms } }
//! load:
//! - { to: shop/reviews, rate: 100 }
//! events:
//! - { at: 1s, host: reviews#0, fail: { percent: 100, status: 503 } }
//! expect:
//! - { what: success, atLeast: 95 }
//! - { what: share, of: reviews#0, from: 2s, atMost: 2 }
//! ").unwrap();
//! let outcome = scenario.run().unwrap();
//! assert!(outcome.failed().is_empty(), "{}", outcome.summary());
//! ```
//!
//! What is simulated is everything outside the mesh: wires, hosts and callers. What is real is
//! everything else. Two limits: time moves in steps of a millisecond, as tokio's does, and a run has
//! one thread.

mod behaviour;
mod expect;
mod generate;
mod host;
mod latency;
mod load;
mod names;
mod net;
mod outcome;
mod read;
mod record;
mod run;
mod scenario;
mod text;

#[cfg(test)]
mod tests;

pub use self::behaviour::{Behaviour, Change};
pub use self::expect::{Expect, Figure, Verdict};
pub use self::latency::Latency;
pub use self::load::{Arrivals, Load};
pub use self::outcome::{Arrival, Call, Outcome, Turn};
pub use self::scenario::{Scenario, Service, SimError};
