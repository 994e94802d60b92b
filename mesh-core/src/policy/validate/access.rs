//! Who may call a service.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::attach::{Attachments, Target};
use super::findings::Findings;
use super::index::Index;
use super::matches::method;
use crate::error::Code;
use crate::identity::SpiffeId;
use crate::name::{ServiceName, check_label};
use crate::policy::model::{
    AccessMode, AccessModel, AccessRule, GrpcPattern, Operation, PathPattern, Peer,
};
use crate::policy::spec::{self, AccessPolicySpec, Kind, PeerSelector, RequestSelector, Resource};

/// Every policy compiled, by its identity.
pub(super) struct Compiled(BTreeMap<spec::ResourceId, Arc<AccessModel>>);

pub(super) fn compile(index: &Index<'_>, findings: &mut Findings) -> Compiled {
    let mut out = BTreeMap::new();
    for (id, resource) in &index.resources {
        if let Resource::AccessPolicy(policy) = &***resource {
            let mut model = model(resource, &policy.spec, index, findings);
            model.origin = Some(id.clone());
            out.insert(id.clone(), Arc::new(model));
        }
    }
    Compiled(out)
}

impl Compiled {
    /// The policy attached to a target; of several, which is an error, the last.
    pub(super) fn at(
        &self,
        attached: &Attachments<'_>,
        target: &Target,
    ) -> Option<Arc<AccessModel>> {
        let policy = attached.at(Kind::AccessPolicy, target.clone()).last()?;
        self.0.get(&policy.id()).cloned()
    }
}

fn model(
    resource: &Resource,
    spec: &AccessPolicySpec,
    index: &Index<'_>,
    findings: &mut Findings,
) -> AccessModel {
    let mode = match spec.mode {
        spec::AccessMode::Audit => AccessMode::Audit,
        spec::AccessMode::Enforce => AccessMode::Enforce,
    };
    let mut rules = Vec::new();
    for (n, rule) in spec.allow.iter().enumerate() {
        let at = format!("spec.allow[{n}]");
        let Some(from) = &rule.from else {
            findings
                .error(
                    resource,
                    format!("{at}.from"),
                    Code::POLICY_ACCESS_FROM,
                    "the rule does not say `from` whom",
                )
                .help("name callers, such as from: [{ service: web }]; from: [] allows nobody");
            continue;
        };
        let from = from.iter().enumerate().filter_map(|(n, peer)| {
            self::peer(resource, &format!("{at}.from[{n}]"), peer, index, findings)
        });
        let from = from.collect();
        let to =
            rule.to.iter().enumerate().map(|(n, request)| {
                operation(resource, &format!("{at}.to[{n}]"), request, findings)
            });
        let to = to.collect();
        rules.push(AccessRule { from, to });
    }
    AccessModel {
        mode,
        rules,
        origin: None,
    }
}

pub(super) fn peer(
    resource: &Resource,
    at: &str,
    peer: &PeerSelector,
    index: &Index<'_>,
    findings: &mut Findings,
) -> Option<Peer> {
    match (&peer.service, &peer.namespace, &peer.identity) {
        (Some(text), None, None) => {
            let namespace = &resource.metadata().namespace;
            match ServiceName::parse(text, namespace) {
                Ok(name) => {
                    caller(resource, at, &name, index, findings);
                    Some(Peer::Service(name))
                }
                Err(error) => {
                    let at = format!("{at}.service");
                    findings.error(resource, at, Code::POLICY_NAME, error.to_string());
                    None
                }
            }
        }
        (None, Some(text), None) => match check_label(text) {
            Ok(()) => Some(Peer::Namespace(text.as_str().into())),
            Err(why) => {
                let at = format!("{at}.namespace");
                let message = format!("`{text}` is no namespace: {why}");
                findings.error(resource, at, Code::POLICY_NAME, message);
                None
            }
        },
        (None, None, Some(text)) => match SpiffeId::parse(text) {
            Ok(id) => Some(Peer::Identity(id)),
            Err(error) => {
                let at = format!("{at}.identity");
                findings.error(resource, at, Code::POLICY_NAME, error.to_string());
                None
            }
        },
        _ => {
            let message = "a caller is exactly one of service, namespace, identity";
            findings.error(resource, at, Code::POLICY_RANGE, message);
            None
        }
    }
}

/// Callers need no definition (a job has none), so a name that nobody defines is no error; one
/// that is nearly that of a service is worth a look.
fn caller(
    resource: &Resource,
    at: &str,
    name: &ServiceName,
    index: &Index<'_>,
    findings: &mut Findings,
) {
    if let Err(dangling) = index.check(name)
        && let Some(hint) = dangling.hint
    {
        findings
            .warning(
                resource,
                format!("{at}.service"),
                Code::POLICY_REFERENCE,
                dangling.message,
            )
            .hint(hint);
    }
}

pub(super) fn operation(
    resource: &Resource,
    at: &str,
    request: &RequestSelector,
    findings: &mut Findings,
) -> Operation {
    let methods = request.methods.iter().enumerate();
    let methods = methods
        .filter_map(|(n, text)| method(resource, &format!("{at}.methods[{n}]"), text, findings))
        .collect();
    for (n, path) in request.paths.iter().enumerate() {
        let inner = path.strip_suffix('*').unwrap_or(path);
        let at = format!("{at}.paths[{n}]");
        let whole = path.len() == inner.len() || inner.ends_with('/');
        if !path.starts_with('/') || inner.contains(['*', '?', '#']) || !whole {
            let message = format!("`{path}` is neither a path nor one with `/*` at its end");
            findings
                .error(resource, at, Code::POLICY_RANGE, message)
                .help("such as /reviews/7 or /reviews/*");
        }
    }
    for (n, text) in request.grpc.iter().enumerate() {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let name = |text: &str| !text.is_empty() && text.chars().all(plain);
        let fits = match text.split_once('/') {
            None => name(text),
            Some((service, method)) => name(service) && (method == "*" || name(method)),
        };
        if !fits {
            let message = format!("`{text}` is no gRPC method");
            findings
                .error(
                    resource,
                    format!("{at}.grpc[{n}]"),
                    Code::POLICY_RANGE,
                    message,
                )
                .help("such as shop.v1.Reviews/Get or shop.v1.Reviews/*");
        }
    }
    Operation {
        methods,
        paths: request.paths.iter().map(|p| PathPattern::new(p)).collect(),
        grpc: request.grpc.iter().map(|g| GrpcPattern::new(g)).collect(),
    }
}
