//! Which policy holds for what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::findings::Findings;
use super::index::Index;
use super::traffic;
use crate::error::Code;
use crate::name::ServiceName;
use crate::policy::spec::{Kind, Resource, ResourceId, TargetKind, TargetRef};
use crate::policy::text::closest;

/// What a policy is attached to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Mesh,
    Namespace(String),
    Service(ServiceName, Option<u16>),
    Route(ResourceId),
}

/// The policies of each kind by what they are attached to, in the order of their names.
#[derive(Default)]
pub(super) struct Attachments<'a> {
    targets: BTreeMap<(Kind, Target), Vec<&'a Resource>>,
    /// The service that each subset is part of.
    wholes: BTreeMap<ServiceName, ServiceName>,
}

impl<'a> Attachments<'a> {
    pub(super) fn new(index: &Index<'a>, findings: &mut Findings) -> Self {
        let subsets = index.services.keys().filter_map(|name| {
            let whole = index.service(name)?.spec.subset_of.as_deref()?;
            let whole = ServiceName::parse(whole, name.namespace()).ok()?;
            Some((name.clone(), whole))
        });
        let mut attachments = Self {
            wholes: subsets.collect(),
            ..Self::default()
        };
        for resource in index.resources.values() {
            let resource: &'a Arc<Resource> = resource;
            let Some((refs, fields)) = refs(resource) else {
                continue;
            };
            if refs.is_empty() {
                findings
                    .error(
                        resource,
                        "spec.targetRefs",
                        Code::POLICY_MISSING_FIELD,
                        "field `targetRefs` is missing",
                    )
                    .help("such as targetRefs: [{ kind: Service, name: reviews }]");
            }
            if fields.is_empty() {
                findings
                    .warning(
                        resource,
                        "spec",
                        Code::POLICY_UNUSED,
                        "the policy sets nothing",
                    )
                    .help("set a field, or delete it");
            }
            for (n, target) in refs.iter().enumerate() {
                let path = format!("spec.targetRefs[{n}]");
                if let Some(target) = resolve(resource, target, &path, index, findings) {
                    let key = (resource.kind(), target);
                    attachments.targets.entry(key).or_default().push(resource);
                }
            }
        }
        attachments.conflicts(findings);
        attachments.unused(index, findings);
        attachments
    }

    /// The policies of a kind that hold for `service`, least specific first: those of the mesh, of
    /// its namespace, of the service that it is a subset of, and its own.
    pub(super) fn for_service(
        &self,
        kind: Kind,
        service: &ServiceName,
    ) -> impl Iterator<Item = &'a Resource> {
        let whole = self.whole(service).cloned();
        let chain = [
            Some(Target::Mesh),
            Some(Target::Namespace(service.namespace().to_owned())),
            whole.map(|whole| Target::Service(whole, None)),
            Some(Target::Service(service.clone(), None)),
        ];
        chain
            .into_iter()
            .flatten()
            .flat_map(move |t| self.at(kind, t).iter().copied())
    }

    /// The service that this one is a subset of.
    pub(super) fn whole(&self, service: &ServiceName) -> Option<&ServiceName> {
        self.wholes.get(service)
    }

    /// The subsets of these services.
    pub(super) fn subsets<'s>(
        &'s self,
        services: &'s BTreeSet<ServiceName>,
    ) -> impl Iterator<Item = &'s ServiceName> {
        let part = |(_, whole): &(_, &ServiceName)| services.contains(whole);
        self.wholes.iter().filter(part).map(|(name, _)| name)
    }

    /// The policies of a kind on exactly this target.
    pub(super) fn at(&self, kind: Kind, target: Target) -> &[&'a Resource] {
        self.targets.get(&(kind, target)).map_or(&[], Vec::as_slice)
    }

    /// The policies of a kind on single ports of `service`.
    pub(super) fn on_ports(
        &self,
        kind: Kind,
        service: &ServiceName,
    ) -> impl Iterator<Item = (u16, &'a Resource)> {
        let first = (kind, Target::Service(service.clone(), Some(0)));
        let last = (kind, Target::Service(service.clone(), Some(u16::MAX)));
        let found = self.targets.range(first..=last);
        found.flat_map(|((_, target), policies)| {
            let port = match target {
                Target::Service(_, Some(port)) => *port,
                _ => 0,
            };
            policies.iter().map(move |policy| (port, *policy))
        })
    }

    /// Every target of a kind.
    pub(super) fn targets(&self, kind: Kind) -> impl Iterator<Item = &Target> {
        self.targets
            .keys()
            .filter(move |(k, _)| *k == kind)
            .map(|(_, target)| target)
    }

    /// Two policies on one target must not set the same field: which one wins would be chance.
    fn conflicts(&self, findings: &mut Findings) {
        for policies in self.targets.values() {
            let mut owner: BTreeMap<&str, &Resource> = BTreeMap::new();
            for policy in policies {
                for field in fields(policy) {
                    let Some(first) = owner.insert(field, policy) else {
                        continue;
                    };
                    let path = format!("spec.{field}");
                    let message = if first.id() == policy.id() {
                        format!("{} is attached to one target twice", policy.id())
                    } else {
                        let (a, b) = (first.id(), policy.id());
                        format!("{b} and {a} both set `{field}` of one target")
                    };
                    findings
                        .error(policy, &path, Code::POLICY_CONFLICT, message)
                        .related(first, &path)
                        .help("let one policy set it; neither is older or better");
                }
            }
        }
    }

    /// A policy on a namespace in which there is no service.
    fn unused(&self, index: &Index<'_>, findings: &mut Findings) {
        if index.options.is_partial() {
            return;
        }
        for ((_, target), policies) in &self.targets {
            let Target::Namespace(namespace) = target else {
                continue;
            };
            let mut services = index.services.keys().chain(&index.implied);
            if services.any(|s| s.namespace() == namespace) {
                continue;
            }
            for policy in policies {
                findings.warning(
                    policy,
                    "spec.targetRefs",
                    Code::POLICY_UNUSED,
                    format!("the policy touches nothing: namespace `{namespace}` has no service"),
                );
            }
        }
    }
}

/// The top-level fields that a policy sets.
pub(super) fn fields(resource: &Resource) -> Vec<&'static str> {
    refs(resource).map_or_else(Vec::new, |(_, fields)| fields)
}

/// The targets of a policy, and the top-level fields that it sets.
fn refs(resource: &Resource) -> Option<(&[TargetRef], Vec<&'static str>)> {
    let set = |fields: &[(&'static str, bool)]| {
        let set = fields.iter().filter(|(_, set)| *set);
        set.map(|(name, _)| *name).collect()
    };
    match resource {
        Resource::BackendPolicy(policy) => {
            let s = &policy.spec;
            let fields = set(&[
                ("loadBalancing", s.load_balancing.is_some()),
                ("locality", s.locality.is_some()),
                ("outlierDetection", s.outlier_detection.is_some()),
                ("ceilings", s.ceilings.is_some()),
                ("retryBudget", s.retry_budget.is_some()),
                ("breaker", s.breaker.is_some()),
                ("hedging", s.hedging.is_some()),
                ("healthCheck", s.health_check.is_some()),
                ("connection", s.connection.is_some()),
                ("connectTimeout", s.connect_timeout.is_some()),
                ("streamIdleTimeout", s.stream_idle_timeout.is_some()),
            ]);
            Some((&s.target_refs, fields))
        }
        // `mode` and `allow` only make sense together, so the most specific policy wins as a whole.
        Resource::AccessPolicy(policy) => Some((&policy.spec.target_refs, vec!["mode"])),
        Resource::TransportPolicy(policy) => {
            let s = &policy.spec;
            let fields = set(&[
                ("mtls", s.mtls.is_some()),
                ("minTlsVersion", s.min_tls_version.is_some()),
                ("trustDomains", !s.trust_domains.is_empty()),
                ("exceptions", !s.exceptions.is_empty()),
            ]);
            Some((&s.target_refs, fields))
        }
        Resource::TrafficPolicy(policy) => {
            Some((&policy.spec.target_refs, traffic::fields(&policy.spec)))
        }
        _ => None,
    }
}

fn resolve(
    resource: &Resource,
    target: &TargetRef,
    path: &str,
    index: &Index<'_>,
    findings: &mut Findings,
) -> Option<Target> {
    let kind = resource.kind();
    let namespace = &resource.metadata().namespace;
    if target.port.is_some()
        && (kind != Kind::TransportPolicy || target.kind != TargetKind::Service)
    {
        findings.error(
            resource,
            format!("{path}.port"),
            Code::POLICY_RANGE,
            "only a TransportPolicy on a Service can be limited to a port",
        );
    }
    let route_kind = match target.kind {
        TargetKind::Mesh => return Some(Target::Mesh),
        TargetKind::Namespace => {
            let name = target.name.as_ref().unwrap_or(namespace);
            return Some(Target::Namespace(name.clone()));
        }
        TargetKind::Service => None,
        TargetKind::HttpRoute => Some(Kind::HttpRoute),
        TargetKind::GrpcRoute => Some(Kind::GrpcRoute),
    };
    let Some(name) = &target.name else {
        let message = format!("field `name` is missing: which {}?", target.kind);
        findings.error(
            resource,
            format!("{path}.name"),
            Code::POLICY_MISSING_FIELD,
            message,
        );
        return None;
    };
    let Some(route_kind) = route_kind else {
        let service = match ServiceName::new(namespace, name) {
            Ok(service) => service,
            Err(error) => {
                let path = format!("{path}.name");
                findings.error(resource, path, Code::POLICY_NAME, error.to_string());
                return None;
            }
        };
        if let Err(dangling) = index.check(&service) {
            findings
                .error(
                    resource,
                    format!("{path}.name"),
                    Code::POLICY_REFERENCE,
                    dangling.message,
                )
                .maybe_hint(dangling.hint);
        }
        return Some(Target::Service(service, target.port));
    };
    if kind != Kind::BackendPolicy {
        let message = format!("{kind} cannot be attached to {}", target.kind);
        findings
            .error(
                resource,
                format!("{path}.kind"),
                Code::POLICY_RANGE,
                message,
            )
            .help("attach it to a Service, a Namespace or the Mesh");
        return None;
    }
    let id = ResourceId {
        kind: route_kind,
        namespace: namespace.clone(),
        name: name.clone(),
    };
    if !index.resources.contains_key(&id)
        && !index.options.broken().contains(&id)
        && !index.options.is_partial()
    {
        let known = index.resources.keys();
        let known = known.filter(|r| r.kind == route_kind && r.namespace == *namespace);
        let hint = closest(name, known.map(|r| r.name.as_str()));
        findings
            .error(
                resource,
                format!("{path}.name"),
                Code::POLICY_REFERENCE,
                format!("{id} is not defined"),
            )
            .maybe_hint(hint.map(|near| format!("did you mean `{near}`?")));
    }
    Some(Target::Route(id))
}
