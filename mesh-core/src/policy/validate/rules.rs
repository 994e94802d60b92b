//! A rule of a route: what it matches, where it sends, how long and how often it tries.

use std::sync::Arc;

use super::backends::Backends;
use super::findings::Findings;
use super::references::RuleCx;
use super::{attempts, filters, matches, session};
use crate::error::Code;
use crate::name::ServiceName;
use crate::policy::model::{
    DirectResponse, Fault, Filter, HashOn, HeaderEdit, Hostname, Mirror, Origin, RetryPolicy,
    Route, RouteMatch, RouteTimeouts, SessionPolicy, Split, Target,
};
use crate::policy::spec::{
    BackendRef, FilterType, Resource, ResourceId, Retry, SessionPersistence, Timeouts,
};
use crate::policy::{MAX_WEIGHT, defaults};

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
pub(super) struct Draft {
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

pub(super) fn drafts(
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
    pub(super) fn at(
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
