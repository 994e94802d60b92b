//! The long form back to the short one. Whatever the short form cannot say exactly stays long, so
//! nothing is lost.

use std::collections::BTreeMap;

use super::Tree;
use super::expand::SHORT;
use crate::name::ServiceName;
use crate::policy::spec::{
    AccessRule, BackendRef, Encode, Filter, Kind, Metadata, ParentRef, PeerSelector, Resource,
    Retry, SessionPersistence, TargetKind, TargetRef, Timeouts,
};

/// One document per service in short form, then the rest in long form.
pub(super) fn shorten(resources: &[&Resource]) -> Vec<Tree> {
    let mut services: BTreeMap<ServiceName, Vec<&Resource>> = BTreeMap::new();
    let mut long = Vec::new();
    for resource in resources {
        let metadata = resource.metadata();
        match ServiceName::new(&metadata.namespace, &metadata.name) {
            Ok(name) => services.entry(name).or_default().push(resource),
            Err(_) => long.push(resource.encode()),
        }
    }
    let mut out = Vec::new();
    for (name, resources) in services {
        let port = resources.iter().find_map(|r| route_port(r)).flatten();
        let mut parts: BTreeMap<usize, (String, Tree)> = BTreeMap::new();
        for resource in resources {
            match part(resource, &name, port) {
                Some(fields) if !fields.iter().any(|f| parts.contains_key(&place(&f.0))) => {
                    parts.extend(fields.into_iter().map(|f| (place(&f.0), f)));
                }
                _ => long.push(resource.encode()),
            }
        }
        if parts.is_empty() {
            continue;
        }
        let title = match port {
            Some(port) => format!("{name}:{port}"),
            None => name.to_string(),
        };
        let mut document = vec![("service".to_owned(), Tree::Str(title))];
        document.extend(parts.into_values());
        out.push(Tree::Map(document));
    }
    out.extend(long);
    out
}

fn place(key: &str) -> usize {
    SHORT.iter().position(|k| *k == key).unwrap_or(usize::MAX)
}

/// The port by which a route of this service is attached, if the short form can say it.
fn route_port(resource: &Resource) -> Option<Option<u16>> {
    let (parents, metadata) = match resource {
        Resource::HttpRoute(r) => (&r.spec.parent_refs, &r.metadata),
        Resource::GrpcRoute(r) => (&r.spec.parent_refs, &r.metadata),
        _ => return None,
    };
    match parents.as_slice() {
        [parent] if *parent == plain_parent(&metadata.name, parent.port) => Some(parent.port),
        _ => None,
    }
}

fn plain_parent(name: &str, port: Option<u16>) -> ParentRef {
    ParentRef {
        group: Some(String::new()),
        kind: Some("Service".into()),
        name: name.into(),
        port,
        ..ParentRef::default()
    }
}

/// The fields of the short form that say this resource; `None` when it cannot be said.
fn part(resource: &Resource, name: &ServiceName, port: Option<u16>) -> Option<Vec<(String, Tree)>> {
    let plain = Metadata {
        name: name.name().to_owned(),
        namespace: name.namespace().to_owned(),
        ..Metadata::default()
    };
    if *resource.metadata() != plain {
        return None;
    }
    let kind = resource.kind();
    match resource {
        Resource::Service(service) => match service.spec.encode() {
            Tree::Map(fields) if !fields.is_empty() => Some(fields),
            _ => None,
        },
        Resource::HttpRoute(route) => {
            let plain = route_port(resource) == Some(port) && route.spec.hostnames.is_empty();
            let rules = route.spec.rules.iter().map(|r| {
                rule(
                    port,
                    &r.name,
                    r.matches.encode(),
                    &r.filters,
                    &r.backend_refs,
                    r.timeouts.as_ref(),
                    r.retry.as_ref(),
                    r.session_persistence.as_ref(),
                )
            });
            let rules = Tree::Seq(rules.collect::<Option<_>>()?);
            plain.then(|| vec![("route".into(), rules)])
        }
        Resource::GrpcRoute(route) => {
            let plain = route_port(resource) == Some(port) && route.spec.hostnames.is_empty();
            let rules = route.spec.rules.iter().map(|r| {
                rule(
                    port,
                    &r.name,
                    r.matches.encode(),
                    &r.filters,
                    &r.backend_refs,
                    r.timeouts.as_ref(),
                    r.retry.as_ref(),
                    r.session_persistence.as_ref(),
                )
            });
            let rules = Tree::Seq(rules.collect::<Option<_>>()?);
            plain.then(|| vec![("grpcRoute".into(), rules)])
        }
        Resource::BackendPolicy(policy) => {
            attached(kind, &policy.spec.target_refs, name, policy.spec.encode())
        }
        Resource::TransportPolicy(policy) => {
            attached(kind, &policy.spec.target_refs, name, policy.spec.encode())
        }
        Resource::AccessPolicy(policy) => {
            let rules = Tree::Seq(policy.spec.allow.iter().map(allow).collect());
            let mut fields = attached(kind, &policy.spec.target_refs, name, policy.spec.encode())?;
            for (_, tree) in &mut fields {
                if let Tree::Map(spec) = tree {
                    for (key, value) in spec {
                        if key == "allow" {
                            *value = rules.clone();
                        }
                    }
                }
            }
            Some(fields)
        }
    }
}

fn attached(
    kind: Kind,
    targets: &[TargetRef],
    name: &ServiceName,
    spec: Tree,
) -> Option<Vec<(String, Tree)>> {
    let plain = TargetRef {
        group: None,
        kind: TargetKind::Service,
        name: Some(name.name().to_owned()),
        port: None,
    };
    let key = match kind {
        Kind::BackendPolicy => "backend",
        Kind::AccessPolicy => "access",
        _ => "transport",
    };
    match (targets, spec) {
        ([target], Tree::Map(mut fields)) if *target == plain => {
            fields.retain(|(key, _)| key != "targetRefs");
            Some(vec![(key.into(), Tree::Map(fields))])
        }
        _ => None,
    }
}

#[allow(clippy::too_many_arguments)] // The two kinds of rules share fields, not a type.
fn rule(
    port: Option<u16>,
    name: &Option<String>,
    matches: Tree,
    filters: &Vec<Filter>,
    backends: &Vec<BackendRef>,
    timeouts: Option<&Timeouts>,
    retry: Option<&Retry>,
    session: Option<&SessionPersistence>,
) -> Option<Tree> {
    let mut fields = Vec::new();
    let mut put = |key: &str, tree: Tree| {
        if !matches!(&tree, Tree::Null) && tree != Tree::Seq(Vec::new()) {
            fields.push((key.to_owned(), tree));
        }
    };
    put("name", name.encode());
    put("matches", matches);
    put("filters", filters.encode());
    match weights(backends, port) {
        Some(map) => put("backends", map),
        None => put("backendRefs", backends.encode()),
    }
    if let Some(timeouts) = timeouts {
        if timeouts.request.is_none() && timeouts.backend_request.is_none() {
            return None;
        }
        put("timeout", timeouts.request.encode());
        put("attemptTimeout", timeouts.backend_request.encode());
    }
    put("retry", retry.cloned().encode());
    put("sessionPersistence", session.cloned().encode());
    Some(Tree::Map(fields))
}

/// `{ reviews-v1: 90 }`, if the references say nothing else.
fn weights(backends: &[BackendRef], port: Option<u16>) -> Option<Tree> {
    let mut entries: Vec<(String, Tree)> = Vec::new();
    for backend in backends {
        let weight = backend.weight?;
        let plain = BackendRef {
            name: backend.name.clone(),
            port: backend.port,
            weight: backend.weight,
            ..BackendRef::default()
        };
        let key = match (backend.port, port) {
            (own, port) if own == port => backend.name.clone(),
            (Some(own), _) => format!("{}:{own}", backend.name),
            (None, _) => return None,
        };
        let odd = backend.name.contains(':') || entries.iter().any(|(k, _)| *k == key);
        if *backend != plain || odd {
            return None;
        }
        entries.push((key, Tree::Int(weight.into())));
    }
    (!entries.is_empty()).then_some(Tree::Map(entries))
}

fn allow(rule: &AccessRule) -> Tree {
    let mut fields = Vec::new();
    if let Some(from) = &rule.from {
        let plain = |peer: &PeerSelector| match peer {
            PeerSelector {
                service: Some(service),
                namespace: None,
                identity: None,
            } => Tree::text(service),
            _ => peer.encode(),
        };
        let tree = match from.as_slice() {
            [one] => match plain(one) {
                text @ Tree::Str(_) => text,
                tree => Tree::Seq(vec![tree]),
            },
            many => Tree::Seq(many.iter().map(plain).collect()),
        };
        fields.push(("from".to_owned(), tree));
    }
    match rule.to.as_slice() {
        [] => {}
        [one] => match one.encode() {
            Tree::Map(inner) if !inner.is_empty() => fields.extend(inner),
            tree => fields.push(("to".to_owned(), Tree::Seq(vec![tree]))),
        },
        many => fields.push(("to".to_owned(), many.to_vec().encode())),
    }
    Tree::Map(fields)
}
