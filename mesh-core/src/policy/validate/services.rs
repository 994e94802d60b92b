//! Ports, endpoints and subsets of services.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::findings::Findings;
use super::index::{Index, label};
use crate::balance::EndpointInfo;
use crate::error::Code;
use crate::identity::SpiffeId;
use crate::name::ServiceName;
use crate::policy::model::{AppProtocol, Discovery, SubsetFallback, TlsMode};
use crate::policy::spec::{self, Endpoints, Resource, ServiceSpec, StaticEndpoint};
use crate::policy::{MAX_PRIORITY, defaults};

/// What a service is, checked.
pub(super) struct Defined {
    pub(super) ports: Vec<Port>,
    pub(super) discovery: Discovery,
    pub(super) subset: BTreeMap<String, String>,
    pub(super) fallback: SubsetFallback,
    pub(super) tls: TlsMode,
    pub(super) implicit: bool,
}

pub(super) struct Port {
    pub(super) number: u16,
    /// Where endpoints listen, if that is said.
    pub(super) target: Option<u16>,
    pub(super) protocol: AppProtocol,
}

/// Every service: those that are defined, and those that something refers to.
pub(super) type Services = BTreeMap<ServiceName, Defined>;

pub(super) fn define(index: &Index<'_>, findings: &mut Findings) -> Services {
    let mut out: Services = index
        .implied
        .iter()
        .map(|name| (name.clone(), implicit(name)))
        .collect();
    for (name, resource) in &index.services {
        if let Resource::Service(service) = resource {
            let defined = defined(name, resource, &service.spec, index, findings);
            out.insert(name.clone(), defined);
        }
    }
    out
}

/// A service whose instances register themselves.
pub(super) fn implicit(name: &ServiceName) -> Defined {
    Defined {
        ports: Vec::new(),
        discovery: Discovery::Registered(name.clone()),
        subset: BTreeMap::new(),
        fallback: SubsetFallback::None,
        tls: TlsMode::Mesh,
        implicit: true,
    }
}

fn defined(
    name: &ServiceName,
    resource: &Resource,
    spec: &ServiceSpec,
    index: &Index<'_>,
    findings: &mut Findings,
) -> Defined {
    for (key, value) in &spec.selector {
        let path = format!("spec.selector.{key}");
        label(resource, &path, key, value, findings);
    }
    let own = endpoints(name, resource, spec.endpoints.as_ref(), findings);
    let (discovery, tls, subset) = match &spec.subset_of {
        None => {
            if !spec.selector.is_empty() {
                findings
                    .warning(
                        resource,
                        "spec.selector",
                        Code::POLICY_UNUSED,
                        "`selector` has no effect without `subsetOf`",
                    )
                    .help(
                        "instances register themselves; a subset names the service it is part of",
                    );
            }
            if spec.subset_fallback.is_some() {
                let message = "`subsetFallback` has no effect without `subsetOf`";
                let path = "spec.subsetFallback";
                findings.warning(resource, path, Code::POLICY_UNUSED, message);
            }
            (own.0, own.1, BTreeMap::new())
        }
        Some(whole) => {
            let found = whole_of(name, resource, spec, whole, index, findings);
            let (discovery, tls) = found.unwrap_or(own);
            (discovery, tls, spec.selector.clone())
        }
    };
    let mut ports = ports(resource, spec, findings);
    if let Some(whole) = &spec.subset_of
        && ports.is_empty()
        && let Ok(whole) = ServiceName::parse(whole, name.namespace())
        && let Some(whole) = index.service(&whole)
    {
        // A part speaks what the whole speaks. What is wrong there is reported there.
        ports = self::ports(resource, &whole.spec, &mut Findings::default());
    }
    Defined {
        ports,
        discovery,
        subset,
        fallback: spec.subset_fallback.unwrap_or(SubsetFallback::None),
        tls,
        implicit: false,
    }
}

/// The endpoints of the service that this one is a subset of.
fn whole_of(
    name: &ServiceName,
    resource: &Resource,
    spec: &ServiceSpec,
    whole: &str,
    index: &Index<'_>,
    findings: &mut Findings,
) -> Option<(Discovery, TlsMode)> {
    let path = "spec.subsetOf";
    if spec.endpoints.is_some() {
        let message = "a subset has the endpoints of the service it is part of, none of its own";
        findings.error(resource, "spec.endpoints", Code::POLICY_RANGE, message);
    }
    if spec.selector.is_empty() {
        findings
            .error(
                resource,
                path,
                Code::POLICY_MISSING_FIELD,
                "field `selector` is missing: which part?",
            )
            .help("such as selector: { version: v1 }");
    }
    let whole = match ServiceName::parse(whole, name.namespace()) {
        Ok(whole) => whole,
        Err(error) => {
            findings.error(resource, path, Code::POLICY_NAME, error.to_string());
            return None;
        }
    };
    if let Err(dangling) = index.check(&whole) {
        findings
            .error(resource, path, Code::POLICY_REFERENCE, dangling.message)
            .maybe_hint(dangling.hint);
        return None;
    }
    let Some(definition) = index.service(&whole) else {
        return Some((Discovery::Registered(whole), TlsMode::Mesh));
    };
    if definition.spec.subset_of.is_some() {
        findings
            .error(
                resource,
                path,
                Code::POLICY_REFERENCE,
                format!("`{whole}` is a subset itself"),
            )
            .help("name the whole service, and all labels here");
        return None;
    }
    // What is wrong there is reported there.
    let mut elsewhere = Findings::default();
    let endpoints = definition.spec.endpoints.as_ref();
    Some(endpoints_of(&whole, resource, endpoints, &mut elsewhere))
}

fn endpoints(
    name: &ServiceName,
    resource: &Resource,
    endpoints: Option<&Endpoints>,
    findings: &mut Findings,
) -> (Discovery, TlsMode) {
    if let Some(e) = endpoints {
        let kinds = [
            e.fixed.is_some(),
            e.dns.is_some(),
            e.registered.is_some(),
            e.external.is_some(),
        ];
        if kinds.iter().filter(|k| **k).count() != 1 {
            findings
                .error(
                    resource,
                    "spec.endpoints",
                    Code::POLICY_RANGE,
                    "endpoints come from exactly one of static, dns, registered, external",
                )
                .help("`registered: {}`, the default, needs nothing else");
        }
    }
    endpoints_of(name, resource, endpoints, findings)
}

fn endpoints_of(
    name: &ServiceName,
    resource: &Resource,
    endpoints: Option<&Endpoints>,
    findings: &mut Findings,
) -> (Discovery, TlsMode) {
    let registered = (Discovery::Registered(name.clone()), TlsMode::Mesh);
    let Some(endpoints) = endpoints else {
        return registered;
    };
    if let Some(list) = &endpoints.fixed {
        let infos = list.iter().enumerate();
        let infos: Arc<[EndpointInfo]> = infos
            .filter_map(|(n, e)| fixed(resource, n, e, findings))
            .collect();
        return (Discovery::Static(infos), TlsMode::Mesh);
    }
    if let Some(dns) = &endpoints.dns {
        host(resource, "spec.endpoints.dns.host", &dns.host, findings);
        let srv = dns.srv.unwrap_or(false);
        if srv == dns.port.is_some() {
            let message = if srv {
                "SRV records carry the port; `port` cannot be given beside `srv`"
            } else {
                "field `port` is missing: addresses of DNS have none"
            };
            let code = if srv {
                Code::POLICY_RANGE
            } else {
                Code::POLICY_MISSING_FIELD
            };
            findings.error(resource, "spec.endpoints.dns", code, message);
        }
        let discovery = Discovery::Dns {
            host: dns.host.as_str().into(),
            port: dns.port,
            srv,
        };
        return (discovery, TlsMode::Mesh);
    }
    if let Some(external) = &endpoints.external {
        let path = "spec.endpoints.external.host";
        host(resource, path, &external.host, findings);
        let tls = match external.tls {
            Some(false) => TlsMode::Plaintext,
            _ => TlsMode::System,
        };
        let discovery = Discovery::External {
            host: external.host.as_str().into(),
            port: external.port.unwrap_or(defaults::EXTERNAL_PORT),
        };
        return (discovery, tls);
    }
    registered
}

fn fixed(
    resource: &Resource,
    n: usize,
    endpoint: &StaticEndpoint,
    findings: &mut Findings,
) -> Option<EndpointInfo> {
    let path = format!("spec.endpoints.static[{n}]");
    for (key, value) in &endpoint.labels {
        label(
            resource,
            &format!("{path}.labels.{key}"),
            key,
            value,
            findings,
        );
    }
    let identity = endpoint.identity.as_ref().and_then(|text| {
        SpiffeId::parse(text)
            .map_err(|error| {
                let path = format!("{path}.identity");
                findings.error(resource, path, Code::POLICY_NAME, error.to_string());
            })
            .ok()
    });
    let weight = endpoint.weight.unwrap_or(defaults::ENDPOINT_WEIGHT);
    if !(1..=1000).contains(&weight) {
        let message = format!("{weight} is not in the range 1 to 1000");
        findings.error(
            resource,
            format!("{path}.weight"),
            Code::POLICY_RANGE,
            message,
        );
    }
    let Ok(addr) = endpoint.address.parse::<SocketAddr>() else {
        let message = format!("`{}` is not an address with a port", endpoint.address);
        findings
            .error(
                resource,
                format!("{path}.address"),
                Code::POLICY_RANGE,
                message,
            )
            .help("such as 10.0.0.7:8080 or [fd00::7]:8080; for a name use `dns`");
        return None;
    };
    let mut info = EndpointInfo::new(addr);
    info.identity = identity;
    info.labels = Arc::new(endpoint.labels.clone());
    info.zone = endpoint.zone.as_deref().map(Into::into);
    info.weight = weight;
    info.priority = endpoint.priority.unwrap_or(0);
    if info.priority > MAX_PRIORITY {
        let message = format!("{} is not in the range 0 to {MAX_PRIORITY}", info.priority);
        findings.error(
            resource,
            format!("{path}.priority"),
            Code::POLICY_RANGE,
            message,
        );
    }
    Some(info)
}

fn ports(resource: &Resource, spec: &ServiceSpec, findings: &mut Findings) -> Vec<Port> {
    let mut out: Vec<Port> = Vec::new();
    for (n, port) in spec.ports.iter().enumerate() {
        let path = format!("spec.ports[{n}]");
        for (field, number) in [("port", Some(port.port)), ("targetPort", port.target_port)] {
            if number == Some(0) {
                let message = "0 is not in the range 1 to 65535";
                findings.error(
                    resource,
                    format!("{path}.{field}"),
                    Code::POLICY_RANGE,
                    message,
                );
            }
        }
        if port.protocol.as_deref().is_some_and(|p| p != "TCP") {
            let message = "the mesh carries TCP only";
            findings.error(
                resource,
                format!("{path}.protocol"),
                Code::POLICY_RANGE,
                message,
            );
        }
        if out.iter().any(|p| p.number == port.port) {
            let message = format!("port {} is given twice", port.port);
            findings.error(
                resource,
                format!("{path}.port"),
                Code::POLICY_DUPLICATE_NAME,
                message,
            );
            continue;
        }
        out.push(Port {
            number: port.port,
            // Endpoints bring their port; with several ports of the service it must be said which.
            target: port
                .target_port
                .or((spec.ports.len() > 1).then_some(port.port)),
            protocol: protocol(port.app_protocol),
        });
    }
    out
}

fn protocol(text: Option<spec::AppProtocol>) -> AppProtocol {
    match text {
        None | Some(spec::AppProtocol::Http) => AppProtocol::Http,
        Some(spec::AppProtocol::Http2 | spec::AppProtocol::KubernetesH2c) => AppProtocol::Http2,
        Some(spec::AppProtocol::Grpc) => AppProtocol::Grpc,
        Some(spec::AppProtocol::Tcp) => AppProtocol::Tcp,
    }
}

/// Checks a host name (RFC 1123; `_` is allowed in front of a label for SRV).
pub(super) fn host(resource: &Resource, path: &str, text: &str, findings: &mut Findings) {
    let label = |label: &str| {
        let rest = label.strip_prefix('_').unwrap_or(label);
        (1..=63).contains(&label.len())
            && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !rest.starts_with('-')
            && !rest.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.is_empty() || name.len() > 253 || !name.split('.').all(label) {
        let message = format!("`{text}` is no host name");
        findings.error(resource, path, Code::POLICY_NAME, message);
    }
}
