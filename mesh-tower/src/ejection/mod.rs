//! Takes an endpoint that fails out of rotation for a time.
//!
//! This layer only tells the detector how each attempt went; the decision is `mesh-core`'s and the
//! balancer obeys it. It sits below the balancer, so that it knows the endpoint, and above the
//! attempt timeout, so that it sees timeouts. An answer that the peer's mesh or this one made says
//! nothing about the endpoint and is not held against it.
//!
//! ```
//! use std::sync::Arc;
//! use mesh_core::{balance::{EndpointInfo, EndpointSet}, policy::EjectionPolicy};
//! use mesh_tower::ejection::{EjectionLayer, Outliers};
//!
//! let set = EndpointSet::new([80, 81].map(|port| EndpointInfo::new(([127, 0, 0, 1], port).into())));
//! let outliers = Arc::new(Outliers::new(EjectionPolicy::default(), set));
//! let _layer = EjectionLayer::new(outliers, 0);
//! ```

mod outliers;
mod service;

pub use self::outliers::Outliers;
pub(crate) use self::service::record;
pub use self::service::{EjectionFuture, EjectionLayer, EjectionService};
