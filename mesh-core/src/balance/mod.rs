//! Which endpoint takes a call.
//!
//! An [`EndpointSet`] is immutable: discovery makes the [next](EndpointSet::next) one, which keeps
//! the [`EndpointState`] of every endpoint with the same address and identity. States are atomics
//! only, shared by all clones of a client; a [`Balancer`] picks a position of a set without a lock
//! and without allocating. Its cost does not grow with the number of endpoints.
//!
//! The default is P2C on peak EWMA: of two endpoints at random the one with the lower
//! `latency x (in flight + 1) / weight`. A failure counts as a latency of 5 s, so an endpoint that
//! fails quickly does not look fast. What was measured fades with 10 s, also while an endpoint gets
//! no calls: it is tried again by and by. Beside it there are least request, round robin, random,
//! weights from load reports, ring hash and Maglev; a file each says where its rules come from.
//!
//! A pick goes from the outside in, and each step is left out where there is nothing to choose:
//!
//! ```text
//! subset (labels; random)  ->  priority, by health  ->  zone, own one first  ->  arc of the ring
//!   when the set is built                        at the pick                 ->  the algorithm
//! ```
//!
//! A balancer [prepared](Balancer::prepared) for a set has the tables for this; they are built when
//! the set or the policy changes, and what was learnt goes over from the balancer before.
//!
//! ```text
//!              record, fail x5 or 20 %          time is up, claimed by one pick
//! available ------------------------> ejected ------------------------> probing
//!     ^                                  ^                                 |
//!     |         the probe succeeds       |        the probe fails          |
//!     +----------------------------------+---------------------------------+
//! ```
//!
//! Beside that, an endpoint that refuses connections is unreachable until a growing pause is over
//! (250 ms to 5 s); then one call tries it. With fewer available endpoints than the panic share
//! (50 %), all are candidates: overrunning the few would take those down too.
//!
//! ```
//! use mesh_core::balance::{Balancer, EndpointInfo, EndpointSet};
//! use mesh_core::policy::BalancePolicy;
//! use std::time::Instant;
//!
//! let infos = [80, 81].map(|port| EndpointInfo::new(([127, 0, 0, 1], port).into()));
//! let set = EndpointSet::new(infos);
//! let balancer = Balancer::new(&BalancePolicy::default());
//! let mut rng = fastrand::Rng::with_seed(1);
//! let first = balancer.pick(&set, Instant::now(), &[], &mut rng).unwrap();
//! let other = balancer.pick(&set, Instant::now(), &[first], &mut rng).unwrap();
//! assert_ne!(first, other);
//! ```

mod aperture;
mod balancer;
mod base64;
mod bounded_load;
mod client_weighted;
mod consistent;
mod endpoint;
mod ewma;
mod group;
mod hash;
mod info;
mod layout;
mod least_request;
mod locality;
mod maglev;
mod orca;
mod p2c;
mod panic;
mod pick;
mod place;
mod random;
mod reach;
mod ring_hash;
mod round_robin;
mod set;
mod slow_start;
mod subsetting;

pub use balancer::{Ask, Balancer, Pick};
pub use endpoint::{EndpointState, InFlight, Outcome};
pub use info::EndpointInfo;
pub use orca::LoadReport;
pub use place::{Place, Plan};
pub use set::EndpointSet;
pub use subsetting::subset;

pub(crate) use endpoint::Availability;

#[cfg(test)]
mod tests;
