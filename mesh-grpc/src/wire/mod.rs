//! Our resource types on the wire: their URLs and the conversions to and from `mesh-core`'s types.
//!
//! The messages are field copies of `mesh_core::policy::spec`: no defaults are filled in and nothing is validated on
//! the way, so what arrives is what was written. [`WireError`] names the field that could not be read.

mod convert;
mod members;
mod report;
mod spec;
#[cfg(test)]
mod tests;

pub use convert::WireError;
pub use members::{
    endpoint_from_proto, endpoint_set, endpoint_to_proto, endpoints, inbound_policy, resources,
    service_policy, trust_bundle, trust_domains,
};
pub use report::{
    edge_from_proto, edge_to_proto, endpoint_report_from_proto, endpoint_report_to_proto,
    report_from_proto, report_to_proto,
};
pub use spec::{resource_from_proto, resource_to_proto};

/// Everything that a caller of one service needs. Named by the service.
pub const SERVICE_POLICY: &str = "type.mesh/policy.v1.ServicePolicy";
/// The live endpoints of one service. Named by the service.
pub const ENDPOINT_SET: &str = "type.mesh/policy.v1.EndpointSet";
/// What an instance of one service needs to receive calls. Named by the service.
pub const INBOUND_POLICY: &str = "type.mesh/policy.v1.InboundPolicy";
/// Trust anchors. Named [`TRUST_BUNDLE_NAME`].
pub const TRUST_BUNDLE: &str = "type.mesh/policy.v1.TrustBundle";
/// The one name of the trust bundle.
pub const TRUST_BUNDLE_NAME: &str = "default";
/// Push order: what is referred to first.
pub const PUSH_ORDER: [&str; 4] = [TRUST_BUNDLE, ENDPOINT_SET, SERVICE_POLICY, INBOUND_POLICY];
