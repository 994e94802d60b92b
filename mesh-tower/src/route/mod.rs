//! Pins one view of the policy for the whole call, and decides what the call is: which route
//! matches, what its filters change, which backend takes it, how long it may take.
//!
//! Everything below reads the policy through the call's context, so a policy change in the middle
//! of a call does not change that call, retries included. Per call this costs one atomic compare
//! of versions and the match; a clone of the client looks its service up by name only when the
//! view has changed.
//!
//! ```
//! use std::sync::Arc;
//! use mesh_core::route::RouteTable;
//! use mesh_tower::route::RouteLayer;
//!
//! let table = Arc::new(RouteTable::new([]));
//! let _layer = RouteLayer::new(table);
//! ```

mod after;
mod apply;
mod choose;
mod entry;
mod future;
mod hosts;
mod lookup;
mod service;
mod target;

pub(crate) use self::entry::{Entry, Unrouted};
pub use self::future::RouteFuture;
pub use self::hosts::Hosts;
pub use self::service::{RouteLayer, RouteService};
pub(crate) use self::target::{MeshSource, Source, Target};
