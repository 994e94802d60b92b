//! Picks an endpoint for each attempt, and waits for one in bounds when there is none.
//!
//! The pick is `mesh_core::balance`'s: no lock, no allocation. What is tried already is left out.
//! There is no queue and no readiness to reserve: a call is either at an endpoint or waits inside
//! its own future for `min(deadline, 5 s)`, and then fails with a reason.
//!
//! ```
//! use mesh_core::{balance::EndpointInfo, policy::BalancePolicy};
//! use mesh_tower::balance::Balance;
//! # #[derive(Clone)] struct Connection(u16);
//!
//! let endpoints = [80, 81].map(|port| {
//!     (EndpointInfo::new(([127, 0, 0, 1], port).into()), Connection(port))
//! });
//! let _service = Balance::new(&BalancePolicy::default(), endpoints);
//! ```

mod affinity;
mod fixed;
mod routed;

pub use self::fixed::Balance;
pub(crate) use self::routed::RoutedBalance;
