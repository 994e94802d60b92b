//! Policy: what can be written, what it means, and what is in force.
//!
//! ```text
//! text -> spec -> validate -> model (Snapshot) -> store -> readers
//! ```
//!
//! - [`text`]: YAML in long and short form, all errors with file, line and column
//! - [`spec`]: the schema as plain data
//! - [`defaults`]: every default with its reason
//! - [`validate`]: the only code with opinions
//! - [`model`]: the immutable result, parts shared from one snapshot to the next
//! - [`store`]: layers (code, file, control server), last good kept, watched
//!
//! ```
//! use mesh_core::policy::{self, Options, Source};
//!
//! let text = "service: shop/reviews:8080\nroute:\n- timeout: 2\n";
//! let checked = policy::check(&[Source::new("reviews.yaml", text)], &Options::partial());
//! assert!(checked.snapshot.is_none());
//! assert!(checked.rendered.starts_with("error[M3005]: a duration needs a unit"));
//! ```

pub mod defaults;
pub mod model;
pub mod spec;
pub mod store;
pub mod text;
pub mod validate;

mod check;
mod error;

/// Highest number of an endpoint's priority (Envoy's bound).
pub const MAX_PRIORITY: u32 = 127;
/// Largest weight of an endpoint or of a route's target (Gateway API's bound).
pub const MAX_WEIGHT: u32 = 1_000_000;

pub use check::{Checked, check};
pub use error::{Location, PolicyError, PolicyErrors, Related, Severity};
pub use spec::{Resource, ResourceId};
pub use store::{Layer, Store};
pub use text::Source;
pub use validate::Options;

pub use model::{
    AbortStatus, BalancePolicy, BreakerPolicy, BudgetPolicy, CeilingsPolicy, ConcurrencyAlgorithm,
    ConcurrencyPolicy, ConnectionPolicy, CriticalityPolicy, CriticalityRule, DirectResponse,
    EjectionPolicy, Fault, HashKey, HashOn, HealthPolicy, HealthProbe, HealthTiming, HedgePolicy,
    InboundTraffic, LatencyMode, LocalityPolicy, Mirror, QueuePolicy, RateKey, RateLimit,
    RateOverride, RetryPolicy, SessionLifetime, SessionPolicy, SessionType, Snapshot,
    SubsetFallback, ThrottlePolicy,
};
