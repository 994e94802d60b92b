//! The table of all types of the policy language, and resources as a whole.

use mesh_core::policy::spec::{self, Resource};

use super::convert::{Wire, WireError, wire, wire_choice, wire_list};
use crate::pb::policy::{self as pb, resource::Spec};

/// A resource as it travels.
pub fn resource_to_proto(resource: &Resource) -> pb::Resource {
    let spec = match resource {
        Resource::Service(r) => Spec::Service(r.spec.to_wire()),
        Resource::HttpRoute(r) => Spec::HttpRoute(r.spec.to_wire()),
        Resource::GrpcRoute(r) => Spec::GrpcRoute(r.spec.to_wire()),
        Resource::BackendPolicy(r) => Spec::BackendPolicy(r.spec.to_wire()),
        Resource::AccessPolicy(r) => Spec::AccessPolicy(r.spec.to_wire()),
        Resource::TransportPolicy(r) => Spec::TransportPolicy(r.spec.to_wire()),
        // The enum is open for other crates, not for this workspace: the round trip test covers every kind.
        _ => {
            return pb::Resource {
                metadata: Some(resource.metadata().to_wire()),
                spec: None,
            };
        }
    };
    pb::Resource {
        metadata: Some(resource.metadata().to_wire()),
        spec: Some(spec),
    }
}

/// A resource that arrived. Whether it makes sense is not decided here.
pub fn resource_from_proto(wire: pb::Resource) -> Result<Resource, WireError> {
    fn read<P, T: Wire<P>>(wire: P) -> Result<T, WireError> {
        T::from_wire(wire).map_err(|error| error.at("spec"))
    }
    let metadata = wire
        .metadata
        .ok_or_else(|| WireError::new("missing").at("metadata"))?;
    let metadata = spec::Metadata::from_wire(metadata).map_err(|error| error.at("metadata"))?;
    let name = format!("{}/{}", metadata.namespace, metadata.name);
    let resource = match wire.spec {
        Some(Spec::Service(s)) => read(s).map(|s| spec::Service::new(metadata, s).into()),
        Some(Spec::HttpRoute(s)) => read(s).map(|s| spec::HttpRoute::new(metadata, s).into()),
        Some(Spec::GrpcRoute(s)) => read(s).map(|s| spec::GrpcRoute::new(metadata, s).into()),
        Some(Spec::BackendPolicy(s)) => {
            read(s).map(|s| spec::BackendPolicy::new(metadata, s).into())
        }
        Some(Spec::AccessPolicy(s)) => read(s).map(|s| spec::AccessPolicy::new(metadata, s).into()),
        Some(Spec::TransportPolicy(s)) => {
            read(s).map(|s| spec::TransportPolicy::new(metadata, s).into())
        }
        None => {
            Err(WireError::new("missing, or of a kind that this version does not know").at("spec"))
        }
    };
    resource.map_err(|error| error.of(&name))
}

wire!(Metadata { name "name", namespace "namespace", labels "labels", annotations "annotations" });
wire!(TargetRef { group "group", kind "kind", name "name", port "port" });
wire!(HttpRouteSpec { parent_refs "parentRefs", hostnames "hostnames", rules "rules" });
wire!(GrpcRouteSpec { parent_refs "parentRefs", hostnames "hostnames", rules "rules" });
wire!(ParentRef { group "group", kind "kind", namespace "namespace", name "name", section_name "sectionName", port "port" });
wire!(HttpRouteRule { name "name", matches "matches", filters "filters", backend_refs "backendRefs", timeouts "timeouts", retry "retry", session_persistence "sessionPersistence" });
wire!(GrpcRouteRule { name "name", matches "matches", filters "filters", backend_refs "backendRefs", timeouts "timeouts", retry "retry", session_persistence "sessionPersistence" });
wire!(HttpRouteMatch { path "path", headers "headers", query_params "queryParams", method "method" });
wire!(GrpcRouteMatch { method "method", headers "headers" });
wire!(PathMatch { kind "type", value "value" });
wire!(HeaderMatch { kind "type", name "name", value "value" });
wire!(QueryParamMatch { kind "type", name "name", value "value" });
wire!(GrpcMethodMatch { kind "type", service "service", method "method" });
wire!(BackendRef { group "group", kind "kind", name "name", namespace "namespace", port "port", weight "weight", filters "filters" });
wire!(Filter { kind "type", request_header_modifier "requestHeaderModifier", response_header_modifier "responseHeaderModifier", request_redirect "requestRedirect", url_rewrite "urlRewrite", request_mirror "requestMirror", extension_ref "extensionRef" });
wire!(HeaderFilter { set "set", add "add", remove "remove" });
wire!(HeaderValue { name "name", value "value" });
wire!(RedirectFilter { scheme "scheme", hostname "hostname", path "path", port "port", status_code "statusCode" });
wire!(RewriteFilter { hostname "hostname", path "path" });
wire!(PathModifier { kind "type", replace_full_path "replaceFullPath", replace_prefix_match "replacePrefixMatch" });
wire!(MirrorFilter { required backend_ref "backendRef", percent "percent", fraction "fraction" });
wire!(MirrorFraction { numerator "numerator", denominator "denominator" });
wire!(ExtensionRef { group "group", kind "kind", name "name" });
wire!(Timeouts { request "request", backend_request "backendRequest" });
wire!(Retry { codes "codes", attempts "attempts", backoff "backoff", non_idempotent "nonIdempotent" });
wire!(SessionPersistence { session_name "sessionName", absolute_timeout "absoluteTimeout", idle_timeout "idleTimeout", kind "type" });
wire!(ServiceSpec { ports "ports", endpoints "endpoints", subset_of "subsetOf", selector "selector" });
wire!(ServicePort { name "name", port "port", target_port "targetPort", protocol "protocol", app_protocol "appProtocol" });
wire!(Endpoints { fixed "static", dns "dns", registered "registered", external "external" });
wire!(StaticEndpoint { address "address", identity "identity", labels "labels", zone "zone", weight "weight" });
wire!(DnsEndpoints { host "host", port "port", srv "srv" });
wire!(RegisteredEndpoints {});
wire!(ExternalEndpoints { host "host", port "port", tls "tls" });
wire!(BackendPolicySpec { target_refs "targetRefs", load_balancing "loadBalancing", outlier_detection "outlierDetection", ceilings "ceilings", retry_budget "retryBudget", connect_timeout "connectTimeout" });
wire!(LoadBalancing { algorithm "algorithm", decay "decay", default_rtt "defaultRtt", failure_penalty "failurePenalty", panic_percent "panicPercent", slow_start "slowStart" });
wire!(OutlierDetection { consecutive_errors "consecutiveErrors", failure_percent "failurePercent", minimum_calls "minimumCalls", interval "interval", eject_for "ejectFor", max_eject_for "maxEjectFor", max_ejected_percent "maxEjectedPercent" });
wire!(Ceilings { max_connections "maxConnections", max_pending_requests "maxPendingRequests", max_requests "maxRequests", max_retries "maxRetries" });
wire!(RetryBudget { percent "percent", interval "interval", min_retries_per_second "minRetriesPerSecond" });
wire!(AccessPolicySpec { target_refs "targetRefs", mode "mode", allow "allow" });
wire!(AccessRule { from "from", to "to" });
wire!(PeerSelector { service "service", namespace "namespace", identity "identity" });
wire!(RequestSelector { methods "methods", paths "paths", grpc "grpc" });
wire!(TransportPolicySpec { target_refs "targetRefs", mtls "mtls", min_tls_version "minTlsVersion", trust_domains "trustDomains", exceptions "exceptions" });
wire!(PlaintextException { source "source", port "port", expires "expires", reason "reason" });

wire_choice!(
    AccessMode,
    Algorithm,
    AppProtocol,
    FilterType,
    GrpcMatchType,
    MtlsMode,
    NonIdempotent,
    PathMatchType,
    PathModifierType,
    SessionType,
    TargetKind,
    TlsVersion,
    ValueMatchType
);
wire_list!(StaticEndpoint in StaticEndpointList, PeerSelector in PeerSelectorList);
