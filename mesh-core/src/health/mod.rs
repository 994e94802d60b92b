//! Active health checks: what the answers to probes say about an endpoint.
//!
//! ```text
//!             first passed                    `unhealthy_after` in a row failed
//!   Unknown --------------> Healthy ---------------------------------------> Unhealthy
//!      |                       ^                                                |
//!      |                       +------------------------------------------------+
//!      |                              `healthy_after` in a row passed           ^
//!      +------------------------------------------------------------------------+
//!                                first failed
//! ```
//!
//! Cold start: an endpoint that was not asked yet is in rotation, because the first probe goes out
//! at once and a mesh that holds calls back until then would be slower than one without checks. The
//! first answer counts alone (as in Envoy), the later ones by the thresholds.
//!
//! A server that pushes its state (`grpc.health.v1.Health/Watch`, gRFC A17) is believed at once.
//! A stream that breaks says nothing about the service and counts as a failed probe.
//!
//! A passed probe of a healthy endpoint is evidence against an ejection too
//! (`successful_active_health_check_uneject_host` in Envoy): it comes back early, and warms up.
//!
//! No I/O here: `mesh-tower`'s `health_check` asks.

pub mod grpc;
mod state;

pub use state::{Change, HealthState, Verdict};

#[cfg(test)]
mod tests;
