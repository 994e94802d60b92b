//! Rules of routes: what they match, where they send, how long and how often they try.

use std::sync::Arc;

use super::backends::Backends;
use super::extensions::{self, Extensions};
use super::findings::Findings;
use super::index::{Index, parents};
use super::{attempts, filters, matches, session};
use crate::error::Code;
use crate::name::ServiceName;
use crate::policy::model::{
    BackendIx, DirectResponse, Fault, Filter, HashOn, HeaderEdit, Hostname, Mirror, Origin,
    RetryPolicy, Route, RouteMatch, RouteTimeouts, SessionPolicy, Split, Target,
};
use crate::policy::spec::{
    BackendRef, FilterType, ParentRef, Resource, ResourceId, Retry, SessionPersistence, Timeouts,
};
use crate::policy::{MAX_WEIGHT, defaults};

/// A rule at one of its parents.
pub(super) struct AttachedRoute<'a> {
    pub(super) service: ServiceName,
    pub(super) port: Option<u16>,
    /// Whether the route belongs to the callers' namespace, not to the service's.
    pub(super) consumer: bool,
    pub(super) resource: &'a Resource,
    pub(super) route: Route,
}

/// What a rule's parts are compiled in.
pub(super) struct RuleCx<'a> {
    pub(super) resource: &'a Resource,
    pub(super) index: &'a Index<'a>,
    pub(super) extensions: &'a Extensions,
}

/// The fields that rules of both kinds have.
pub(super) struct Rule<'a> {
    name: Option<&'a str>,
    filters: &'a [crate::policy::spec::Filter],
    backends: &'a [BackendRef],
    pub(super) timeouts: Option<&'a Timeouts>,
    retry: Option<&'a Retry>,
    session: Option<&'a SessionPersistence>,
    pub(super) matches: Vec<RouteMatch>,
    pub(super) grpc: bool,
}

/// A rule before it is known where "the service itself" is.
struct Draft {
    name: Arc<str>,
    origin: Origin,
    hostnames: Vec<Hostname>,
    matches: Vec<RouteMatch>,
    filters: Arc<[Filter]>,
    mirrors: Arc<[Mirror]>,
    direct: Option<Arc<DirectResponse>>,
    fault: Option<Arc<Fault>>,
    session: Option<Arc<SessionPolicy>>,
    sticky: Option<Arc<[HashOn]>>,
    trailers: Option<Arc<HeaderEdit>>,
    targets: Vec<Target>,
    timeouts: RouteTimeouts,
    retry: Option<RetryPolicy>,
}

pub(super) fn compile<'a>(
    index: &'a Index<'a>,
    backends: &mut Backends<'_>,
    findings: &mut Findings,
) -> Vec<AttachedRoute<'a>> {
    let mut out = Vec::new();
    let extensions = extensions::compile(index, findings);
    for resource in index.resources.values() {
        let cx = RuleCx {
            resource,
            index,
            extensions: &extensions,
        };
        let drafts = drafts(&cx, backends, findings);
        let Some(drafts) = drafts else { continue };
        let id = resource.id();
        let parents = parents(resource);
        if parents.is_empty() {
            let message = "the route touches nothing: it has no `parentRefs`";
            findings
                .warning(resource, "spec.parentRefs", Code::POLICY_UNUSED, message)
                .help("such as parentRefs: [{ kind: Service, name: reviews }]");
        }
        if drafts.is_empty() {
            let message = "the route touches nothing: it has no `rules`";
            findings.warning(resource, "spec.rules", Code::POLICY_UNUSED, message);
        }
        for (n, parent) in parents.iter().enumerate() {
            let found = self::parent(resource, n, parent, index, backends, findings);
            let Some((service, port)) = found else {
                continue;
            };
            let consumer = service.namespace() != id.namespace;
            for draft in &drafts {
                let route = draft.at(&service, port, &id, backends);
                hedged(resource, &route, backends, findings);
                out.push(AttachedRoute {
                    route,
                    service: service.clone(),
                    port,
                    consumer,
                    resource,
                });
            }
        }
    }
    out
}

/// Warns of a retry on calls that are hedged: the attempts of a hedged call are counted together
/// (gRFC A6: hedging and retries exclude each other).
fn hedged(resource: &Resource, route: &Route, backends: &Backends<'_>, findings: &mut Findings) {
    let retries = route.retry.as_ref().is_some_and(|r| r.attempts() > 0);
    if !retries {
        return;
    }
    // Without a method it may be any; gRPC's is always POST.
    let safe = |m: &RouteMatch| m.method().is_none_or(http::Method::is_idempotent);
    let grpc = matches!(resource, Resource::GrpcRoute(_));
    let idempotent = !grpc && (route.matches.is_empty() || route.matches.iter().any(safe));
    let targets = route.split.targets().iter();
    let hedged = targets
        .filter_map(|target| backends.made(target.backend()))
        .find(|b| b.hedge().is_some_and(|h| h.idempotent() || idempotent));
    let Some((backend, hedge)) = hedged.and_then(|b| Some((b, b.hedge()?))) else {
        return;
    };
    let message = format!(
        "calls to {} are hedged: a hedged call is tried {} times in all, and `attempts` and \
         `backoff` of this retry do not apply to it",
        backend.service(),
        hedge.max_attempts(),
    );
    let at = format!("spec.rules[{}].retry", route.origin.rule);
    findings
        .warning(resource, at, Code::POLICY_UNUSED, message)
        .help("use one of them: leave `retry` out, or hedge with a policy for another route");
}

fn parent(
    resource: &Resource,
    n: usize,
    parent: &ParentRef,
    index: &Index<'_>,
    backends: &mut Backends<'_>,
    findings: &mut Findings,
) -> Option<(ServiceName, Option<u16>)> {
    let at = format!("spec.parentRefs[{n}]");
    let kind = parent.kind.as_deref().unwrap_or("Service");
    if kind != "Service"
        || parent
            .group
            .as_deref()
            .is_some_and(|g| !matches!(g, "" | "core"))
    {
        let message = format!("a route is attached to a Service, not to {kind}");
        findings
            .error(
                resource,
                format!("{at}.kind"),
                Code::POLICY_REFERENCE,
                message,
            )
            .help("use group: \"\" and kind: Service");
        return None;
    }
    if parent.section_name.is_some() {
        let message = "a Service has no sections; use `port`";
        findings.error(
            resource,
            format!("{at}.sectionName"),
            Code::POLICY_RANGE,
            message,
        );
    }
    let service = reference(
        resource,
        &at,
        parent.namespace.as_deref(),
        &parent.name,
        index,
        findings,
    )?;
    check_port(resource, &at, &service, parent.port, backends, findings);
    Some((service, parent.port))
}

fn reference(
    resource: &Resource,
    at: &str,
    namespace: Option<&str>,
    name: &str,
    index: &Index<'_>,
    findings: &mut Findings,
) -> Option<ServiceName> {
    let namespace = namespace.unwrap_or(&resource.metadata().namespace);
    match ServiceName::new(namespace, name) {
        Err(error) => {
            let at = format!("{at}.name");
            findings.error(resource, at, Code::POLICY_NAME, error.to_string());
            None
        }
        Ok(service) => match index.check(&service) {
            Ok(()) => Some(service),
            Err(dangling) => {
                findings
                    .error(
                        resource,
                        format!("{at}.name"),
                        Code::POLICY_REFERENCE,
                        dangling.message,
                    )
                    .maybe_hint(dangling.hint)
                    .help(format!(
                        "define it, for example: service: {service}, endpoints: {{ registered: {{}} }}"
                    ));
                None
            }
        },
    }
}

fn check_port(
    resource: &Resource,
    at: &str,
    service: &ServiceName,
    port: Option<u16>,
    backends: &mut Backends<'_>,
    findings: &mut Findings,
) {
    let Some(port) = port else { return };
    let ports = &backends.service(service).ports;
    if ports.is_empty() || ports.iter().any(|p| p.number == port) {
        return;
    }
    let known: Vec<String> = ports.iter().map(|p| p.number.to_string()).collect();
    findings
        .error(
            resource,
            format!("{at}.port"),
            Code::POLICY_REFERENCE,
            format!("service `{service}` has no port {port}"),
        )
        .hint(format!("it has: {}", known.join(", ")));
}

impl RuleCx<'_> {
    /// The service and port that a backendRef means.
    pub(super) fn reference(
        &self,
        at: &str,
        backend: &BackendRef,
        backends: &mut Backends<'_>,
        findings: &mut Findings,
    ) -> Option<(ServiceName, Option<u16>)> {
        let kind = backend.kind.as_deref().unwrap_or("Service");
        if kind != "Service"
            || backend
                .group
                .as_deref()
                .is_some_and(|g| !matches!(g, "" | "core"))
        {
            let message = format!("calls go to a Service, not to {kind}");
            findings.error(
                self.resource,
                format!("{at}.kind"),
                Code::POLICY_REFERENCE,
                message,
            );
            return None;
        }
        let service = reference(
            self.resource,
            at,
            backend.namespace.as_deref(),
            &backend.name,
            self.index,
            findings,
        )?;
        check_port(
            self.resource,
            at,
            &service,
            backend.port,
            backends,
            findings,
        );
        Some((service, backend.port))
    }
}

fn drafts(
    cx: &RuleCx<'_>,
    backends: &mut Backends<'_>,
    findings: &mut Findings,
) -> Option<Vec<Draft>> {
    let resource = cx.resource;
    let mut out = Vec::new();
    match resource {
        Resource::HttpRoute(route) => {
            let hosts = matches::hostnames(resource, &route.spec.hostnames, findings);
            for (n, rule) in route.spec.rules.iter().enumerate() {
                let at = format!("spec.rules[{n}]");
                let rule = Rule {
                    name: rule.name.as_deref(),
                    filters: &rule.filters,
                    backends: &rule.backend_refs,
                    timeouts: rule.timeouts.as_ref(),
                    retry: rule.retry.as_ref(),
                    session: rule.session_persistence.as_ref(),
                    matches: matches::http(resource, &at, &rule.matches, findings),
                    grpc: false,
                };
                out.push(draft(cx, n, rule, &hosts, backends, findings));
            }
        }
        Resource::GrpcRoute(route) => {
            let hosts = matches::hostnames(resource, &route.spec.hostnames, findings);
            for (n, rule) in route.spec.rules.iter().enumerate() {
                let at = format!("spec.rules[{n}]");
                let rule = Rule {
                    name: rule.name.as_deref(),
                    filters: &rule.filters,
                    backends: &rule.backend_refs,
                    timeouts: rule.timeouts.as_ref(),
                    retry: rule.retry.as_ref(),
                    session: rule.session_persistence.as_ref(),
                    matches: matches::grpc(resource, &at, &rule.matches, findings),
                    grpc: true,
                };
                out.push(draft(cx, n, rule, &hosts, backends, findings));
            }
        }
        _ => return None,
    }
    Some(out)
}

fn draft(
    cx: &RuleCx<'_>,
    n: usize,
    rule: Rule<'_>,
    hosts: &[Hostname],
    backends: &mut Backends<'_>,
    findings: &mut Findings,
) -> Draft {
    let at = format!("spec.rules[{n}]");
    let resource = cx.resource;
    let id = resource.id();
    let name: Arc<str> = match rule.name {
        Some(name) => name.into(),
        None => format!("{}/{n}", id.name).into(),
    };
    let session = rule
        .session
        .and_then(|session| session::compile(resource, &at, session, &name, findings));
    let done = filters::compile(
        cx,
        &at,
        rule.filters,
        &rule.matches,
        false,
        backends,
        findings,
    );
    let redirects = rule
        .filters
        .iter()
        .any(|f| f.kind == FilterType::RequestRedirect);
    if redirects && !rule.backends.is_empty() {
        let message = "a rule that redirects sends nothing to `backendRefs`";
        let at = format!("{at}.backendRefs");
        findings.error(resource, at, Code::POLICY_RANGE, message);
    }
    if done.direct.is_some() {
        let more = [
            (
                "backendRefs",
                !rule.backends.is_empty(),
                "sends nothing to `backendRefs`",
            ),
            ("filters", redirects, "cannot redirect as well"),
        ];
        for (field, given, what) in more {
            if given {
                let message = format!("a rule that answers by itself {what}");
                let at = format!("{at}.{field}");
                findings.error(resource, at, Code::POLICY_RANGE, message);
            }
        }
    }
    if done.sticky.is_some() && rule.backends.len() < 2 {
        let message = "a sticky split has no effect on fewer than two `backendRefs`";
        let at = format!("{at}.filters");
        findings.warning(resource, at, Code::POLICY_UNUSED, message);
    }
    let timeouts = attempts::timeouts(rule.timeouts);
    let retry = rule
        .retry
        .map(|r| attempts::retry(resource, &at, r, findings));
    if let Some(retry) = &retry {
        attempts::repeatable(resource, &at, &rule, retry, findings);
    }
    attempts::fits(resource, &at, &timeouts, &rule, retry.as_ref(), findings);
    let origin = resource.provenance().origin();
    Draft {
        name,
        origin: Origin {
            rule: n,
            file: origin.map(|o| o.file().clone()),
            line: origin.map_or(0, |o| o.locate(&at).line),
            resource: Some(id.clone()),
        },
        hostnames: hosts.to_vec(),
        filters: done.filters.into(),
        mirrors: done.mirrors.into(),
        direct: done.direct,
        fault: done.fault,
        session,
        sticky: done.sticky,
        trailers: done.trailers,
        targets: targets(cx, &at, &rule, &id, backends, findings),
        matches: rule.matches,
        timeouts,
        retry,
    }
}

fn targets(
    cx: &RuleCx<'_>,
    at: &str,
    rule: &Rule<'_>,
    id: &ResourceId,
    backends: &mut Backends<'_>,
    findings: &mut Findings,
) -> Vec<Target> {
    let mut out = Vec::new();
    let mut total: u64 = 0;
    for (n, backend) in rule.backends.iter().enumerate() {
        let at = format!("{at}.backendRefs[{n}]");
        let weight = backend.weight.unwrap_or(defaults::BACKEND_WEIGHT);
        total += u64::from(weight);
        if weight > MAX_WEIGHT {
            let message = format!("{weight} is not in the range 0 to {MAX_WEIGHT}");
            let at = format!("{at}.weight");
            findings.error(cx.resource, at, Code::POLICY_RANGE, message);
        }
        let own = &backend.filters;
        let done = filters::compile(cx, &at, own, &rule.matches, true, backends, findings);
        if let Some((service, port)) = cx.reference(&at, backend, backends, findings) {
            let name = backend_name(&service, port);
            let target = Target::new(backends.get(&service, port, Some(id)), weight).named(&name);
            out.push(Target {
                filters: done.filters.into(),
                mirrors: done.mirrors.into(),
                ..target
            });
        }
    }
    if total == 0 && !rule.backends.is_empty() {
        findings
            .error(
                cx.resource,
                format!("{at}.backendRefs"),
                Code::POLICY_ZERO_WEIGHTS,
                "every weight is 0: the rule sends nowhere",
            )
            .help("give one of them a weight, or delete the rule");
    }
    out
}

/// How sticky splits and sessions know a backend.
pub(super) fn backend_name(service: &ServiceName, port: Option<u16>) -> String {
    match port {
        Some(port) => format!("{service}:{port}"),
        None => service.to_string(),
    }
}

impl Draft {
    fn at(
        &self,
        service: &ServiceName,
        port: Option<u16>,
        id: &ResourceId,
        backends: &mut Backends<'_>,
    ) -> Route {
        // A rule that names no backend is about the service itself.
        let split = if self.targets.is_empty() {
            let name = backend_name(service, port);
            Split::new([Target::new(backends.get(service, port, Some(id)), 1).named(&name)])
        } else {
            Split::new(self.targets.clone())
        };
        Route {
            name: self.name.clone(),
            origin: self.origin.clone(),
            hostnames: self.hostnames.clone(),
            matches: self.matches.clone(),
            filters: self.filters.clone(),
            split,
            timeouts: self.timeouts,
            retry: self.retry.clone(),
            mirrors: self.mirrors.clone(),
            direct: self.direct.clone(),
            fault: self.fault.clone(),
            session: self.session.clone(),
            sticky: self.sticky.clone(),
            trailers: self.trailers.clone(),
        }
    }
}

/// Replaces provisional positions of backends by final ones.
pub(super) fn settle(route: &mut Route, moved: &[BackendIx]) {
    let place = |ix: BackendIx| moved.get(ix.get()).copied().unwrap_or(ix);
    let mirrors = |mirrors: &[Mirror]| -> Arc<[Mirror]> {
        let mirrors = mirrors.iter().map(|m| Mirror {
            backend: place(m.backend),
            ..*m
        });
        mirrors.collect()
    };
    route.mirrors = mirrors(&route.mirrors);
    let targets = route.split.targets().iter().map(|t| Target {
        backend: place(t.backend),
        mirrors: mirrors(&t.mirrors),
        ..t.clone()
    });
    route.split = Split::new(targets.collect::<Vec<_>>());
}
