//! What a process is told about services: their policy, their endpoints, whom to trust.

use std::{collections::BTreeMap, sync::Arc};

use mesh_core::{
    balance::EndpointInfo, identity::SpiffeId, name::ServiceName, policy::spec::Resource,
};

use super::{WireError, resource_from_proto, resource_to_proto};
use crate::pb::policy as pb;

/// Everything that callers of `service` need.
pub fn service_policy<'a>(
    service: &ServiceName,
    resources: impl IntoIterator<Item = &'a Resource>,
) -> pb::ServicePolicy {
    let resources = resources.into_iter().map(resource_to_proto).collect();
    pb::ServicePolicy {
        service: service.to_string(),
        resources,
    }
}

/// Everything that instances of `service` need to receive calls.
pub fn inbound_policy<'a>(
    service: &ServiceName,
    resources: impl IntoIterator<Item = &'a Resource>,
) -> pb::InboundPolicy {
    let resources = resources.into_iter().map(resource_to_proto).collect();
    pb::InboundPolicy {
        service: service.to_string(),
        resources,
    }
}

/// The resources of a message.
pub fn resources(wire: Vec<pb::Resource>) -> Result<Vec<Arc<Resource>>, WireError> {
    wire.into_iter()
        .map(|resource| resource_from_proto(resource).map(Arc::new))
        .collect()
}

/// An endpoint as it travels.
pub fn endpoint_to_proto(info: &EndpointInfo) -> pb::Endpoint {
    pb::Endpoint {
        addr: info.addr.to_string(),
        identity: info
            .identity
            .as_ref()
            .map(|id| id.as_str().to_owned())
            .unwrap_or_default(),
        labels: (*info.labels).clone(),
        zone: info.zone.as_deref().unwrap_or_default().to_owned(),
        weight: info.weight,
        priority: info.priority,
    }
}

/// An endpoint that arrived.
pub fn endpoint_from_proto(wire: pb::Endpoint) -> Result<EndpointInfo, WireError> {
    let bad =
        |field: &str, text: &str| WireError::new(format!("`{text}` cannot be read")).at(field);
    let mut info = EndpointInfo::new(wire.addr.parse().map_err(|_| bad("addr", &wire.addr))?);
    if !wire.identity.is_empty() {
        info.identity =
            Some(SpiffeId::parse(&wire.identity).map_err(|_| bad("identity", &wire.identity))?);
    }
    info.labels = Arc::new(wire.labels);
    info.zone = (!wire.zone.is_empty()).then(|| wire.zone.into());
    info.weight = wire.weight;
    info.priority = wire.priority;
    Ok(info)
}

/// The endpoints of `service` as they travel.
pub fn endpoint_set<'a>(
    service: &ServiceName,
    endpoints: impl IntoIterator<Item = &'a EndpointInfo>,
) -> pb::EndpointSet {
    let endpoints = endpoints.into_iter().map(endpoint_to_proto).collect();
    pb::EndpointSet {
        service: service.to_string(),
        endpoints,
    }
}

/// The endpoints of a message.
pub fn endpoints(wire: pb::EndpointSet) -> Result<Vec<EndpointInfo>, WireError> {
    let read = |(ix, endpoint)| {
        endpoint_from_proto(endpoint).map_err(|error| error.at(format_args!("endpoints[{ix}]")))
    };
    wire.endpoints.into_iter().enumerate().map(read).collect()
}

/// Trust anchors as they travel: DER certificates by trust domain.
pub fn trust_bundle(domains: impl IntoIterator<Item = (String, Vec<Vec<u8>>)>) -> pb::TrustBundle {
    let domain = |(name, roots_der)| pb::TrustDomain { name, roots_der };
    pb::TrustBundle {
        domains: domains.into_iter().map(domain).collect(),
    }
}

/// The trust anchors of a message: DER certificates by trust domain.
pub fn trust_domains(wire: pb::TrustBundle) -> Result<BTreeMap<String, Vec<Vec<u8>>>, WireError> {
    let mut domains = BTreeMap::new();
    for (ix, domain) in wire.domains.into_iter().enumerate() {
        let at = |error: WireError| error.at(format_args!("domains[{ix}]"));
        if mesh_core::identity::check_trust_domain(&domain.name).is_err() {
            return Err(at(WireError::new(format!(
                "`{}` is no trust domain",
                domain.name
            ))
            .at("name")));
        }
        if domain.roots_der.is_empty() {
            return Err(at(WireError::new(
                "a trust domain without a root would trust nobody",
            )
            .at("rootsDer")));
        }
        domains.insert(domain.name, domain.roots_der);
    }
    Ok(domains)
}
