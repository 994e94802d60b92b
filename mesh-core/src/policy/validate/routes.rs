//! Routes at the services that they are attached to.

use std::sync::Arc;

use super::backends::Backends;
use super::extensions;
use super::findings::Findings;
use super::index::{Index, parents};
use super::references::{self, RuleCx};
use super::rules::drafts;
use crate::error::Code;
use crate::name::ServiceName;
use crate::policy::model::{BackendIx, Mirror, Route, RouteMatch, Split, Target};
use crate::policy::spec::Resource;

/// A rule at one of its parents.
pub(super) struct AttachedRoute<'a> {
    pub(super) service: ServiceName,
    pub(super) port: Option<u16>,
    /// Whether the route belongs to the callers' namespace, not to the service's.
    pub(super) consumer: bool,
    pub(super) resource: &'a Resource,
    pub(super) route: Route,
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
            let found = references::parent(resource, n, parent, index, backends, findings);
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
