//! The long form back to the short one. Whatever the short form cannot say exactly stays long, so
//! nothing is lost.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Tree;
use super::expand::{EXTENSIONS, SHORT, held_name};
use crate::name::ServiceName;
use crate::policy::spec::{
    AccessRule, BackendRef, Encode, ExtensionRef, Filter, FilterType, Kind, Metadata, MirrorFilter,
    ParentRef, PeerSelector, Resource, ResourceId, Retry, SessionPersistence, TargetKind,
    TargetRef, Timeouts,
};

/// One document per service in short form, then the rest in long form.
pub(super) fn shorten(resources: &[&Resource]) -> Vec<Tree> {
    let mut services: BTreeMap<ServiceName, Vec<&Resource>> = BTreeMap::new();
    let mut long = Vec::new();
    for resource in resources {
        let metadata = resource.metadata();
        match ServiceName::new(&metadata.namespace, &metadata.name) {
            Ok(name) => services.entry(name).or_default().push(resource),
            Err(_) => long.push(*resource),
        }
    }
    let mut out = Vec::new();
    let mut holds = Holds::new(resources);
    for (name, resources) in services {
        let port = resources.iter().find_map(|r| route_port(r)).flatten();
        let mut parts: BTreeMap<usize, (String, Tree)> = BTreeMap::new();
        for resource in resources {
            match part(resource, &name, port, &mut holds) {
                Some(fields) if !fields.iter().any(|f| parts.contains_key(&place(&f.0))) => {
                    parts.extend(fields.into_iter().map(|f| (place(&f.0), f)));
                    holds.keep();
                }
                _ => {
                    holds.drop();
                    long.push(resource);
                }
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
    let long = long.into_iter().filter(|r| !holds.kept.contains(&r.id()));
    out.extend(long.map(Encode::encode));
    out
}

/// Where a rule stands.
struct Place<'a> {
    name: &'a ServiceName,
    key: &'a str,
    rule: usize,
    port: Option<u16>,
}

/// Resources that rules hold, instead of referring to them by name.
struct Holds<'a> {
    all: HashMap<ResourceId, &'a Resource>,
    /// Of the resource that is being said.
    asked: Vec<ResourceId>,
    kept: HashSet<ResourceId>,
}

impl<'a> Holds<'a> {
    fn new(resources: &[&'a Resource]) -> Self {
        Self {
            all: resources.iter().map(|r| (r.id(), *r)).collect(),
            asked: Vec::new(),
            kept: HashSet::new(),
        }
    }

    /// The resource itself, if it has the name that the expansion gives it; else its name.
    fn say(&mut self, place: &Place<'_>, kind: Kind, name: &str) -> Tree {
        let made = held_name(place.name.name(), place.key, place.rule);
        let plain = Metadata {
            name: made.clone(),
            namespace: place.name.namespace().to_owned(),
            ..Metadata::default()
        };
        let id = ResourceId {
            kind,
            namespace: plain.namespace.clone(),
            name: made.clone(),
        };
        let found = self.all.get(&id).filter(|r| *r.metadata() == plain);
        let Some(found) = found.filter(|_| made == name) else {
            return Tree::text(name);
        };
        let spec = match found {
            Resource::StickySplit(sticky) => match sticky.spec.hash_on.as_slice() {
                [one] => one.encode(),
                many => many.to_vec().encode(),
            },
            other => other.encode_spec(),
        };
        self.asked.push(found.id());
        spec
    }

    fn keep(&mut self) {
        self.kept.extend(self.asked.drain(..));
    }

    fn drop(&mut self) {
        self.asked.clear();
    }
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
fn part(
    resource: &Resource,
    name: &ServiceName,
    port: Option<u16>,
    holds: &mut Holds<'_>,
) -> Option<Vec<(String, Tree)>> {
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
            let mut rules = Vec::new();
            for (n, r) in route.spec.rules.iter().enumerate() {
                let place = Place {
                    name,
                    key: "route",
                    rule: n,
                    port,
                };
                rules.push(rule(
                    &place,
                    holds,
                    &r.name,
                    r.matches.encode(),
                    &r.filters,
                    &r.backend_refs,
                    r.timeouts.as_ref(),
                    r.retry.as_ref(),
                    r.session_persistence.as_ref(),
                )?);
            }
            let rules = Tree::Seq(rules);
            plain.then(|| vec![("route".into(), rules)])
        }
        Resource::GrpcRoute(route) => {
            let plain = route_port(resource) == Some(port) && route.spec.hostnames.is_empty();
            let mut rules = Vec::new();
            for (n, r) in route.spec.rules.iter().enumerate() {
                let place = Place {
                    name,
                    key: "grpcRoute",
                    rule: n,
                    port,
                };
                rules.push(rule(
                    &place,
                    holds,
                    &r.name,
                    r.matches.encode(),
                    &r.filters,
                    &r.backend_refs,
                    r.timeouts.as_ref(),
                    r.retry.as_ref(),
                    r.session_persistence.as_ref(),
                )?);
            }
            let rules = Tree::Seq(rules);
            plain.then(|| vec![("grpcRoute".into(), rules)])
        }
        Resource::BackendPolicy(policy) => {
            attached(kind, &policy.spec.target_refs, name, policy.spec.encode())
        }
        Resource::TransportPolicy(policy) => {
            attached(kind, &policy.spec.target_refs, name, policy.spec.encode())
        }
        Resource::TrafficPolicy(policy) => {
            attached(kind, &policy.spec.target_refs, name, policy.spec.encode())
        }
        // Said by the rules that refer to them.
        Resource::Fault(_)
        | Resource::DirectResponse(_)
        | Resource::StickySplit(_)
        | Resource::TrailerEdit(_) => None,
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
        Kind::TrafficPolicy => "traffic",
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
    place: &Place<'_>,
    holds: &mut Holds<'_>,
    name: &Option<String>,
    matches: Tree,
    filters: &[Filter],
    backends: &Vec<BackendRef>,
    timeouts: Option<&Timeouts>,
    retry: Option<&Retry>,
    session: Option<&SessionPersistence>,
) -> Option<Tree> {
    let (filters, words) = words(place, filters, holds);
    let mut fields = Vec::new();
    let mut put = |key: &str, tree: Tree| {
        if !matches!(&tree, Tree::Null) && tree != Tree::Seq(Vec::new()) {
            fields.push((key.to_owned(), tree));
        }
    };
    put("name", name.encode());
    put("matches", matches);
    put("filters", filters.to_vec().encode());
    match weights(backends, place.port) {
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
    put("session", session.cloned().encode());
    fields.extend(words);
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
        let key = key(backend, port)?;
        if *backend != plain || entries.iter().any(|(k, _)| *k == key) {
            return None;
        }
        entries.push((key, Tree::Int(weight.into())));
    }
    (!entries.is_empty()).then_some(Tree::Map(entries))
}

/// `reviews-v1`, or `reviews-v1:9090` where the port is not that of the service.
fn key(backend: &BackendRef, port: Option<u16>) -> Option<String> {
    if backend.name.contains(':') {
        return None;
    }
    match (backend.port, port) {
        (own, port) if own == port => Some(backend.name.clone()),
        (Some(own), _) => Some(format!("{}:{own}", backend.name)),
        (None, _) => None,
    }
}

/// The filters of a rule without those at the end for which the short form has words, and these.
fn words<'f>(
    place: &Place<'_>,
    mut filters: &'f [Filter],
    holds: &mut Holds<'_>,
) -> (&'f [Filter], Vec<(String, Tree)>) {
    let mut words = Vec::new();
    for (word, kind) in EXTENSIONS.into_iter().rev() {
        if let Some((last, rest)) = filters.split_last()
            && let Some(name) = refers_to(last, kind)
        {
            words.push((word.to_owned(), holds.say(place, kind, name)));
            filters = rest;
        }
    }
    let mut mirrors: Vec<(String, Tree)> = Vec::new();
    while let Some((last, rest)) = filters.split_last()
        && let Some((key, percent)) = mirror(last, place.port)
        && !mirrors.iter().any(|(known, _)| *known == key)
    {
        mirrors.push((key, Tree::Int(percent.into())));
        filters = rest;
    }
    if !mirrors.is_empty() {
        mirrors.reverse();
        words.push(("mirror".to_owned(), Tree::Map(mirrors)));
    }
    words.reverse();
    (filters, words)
}

/// The name in a filter that is nothing but a reference to this kind.
fn refers_to(filter: &Filter, kind: Kind) -> Option<&str> {
    let to = filter.extension_ref.as_ref()?;
    let plain = Filter {
        extension_ref: Some(ExtensionRef {
            group: "policy.mesh".into(),
            kind: kind.to_string(),
            name: to.name.clone(),
        }),
        ..Filter::new(FilterType::ExtensionRef)
    };
    (*filter == plain).then_some(&to.name)
}

fn mirror(filter: &Filter, port: Option<u16>) -> Option<(String, u32)> {
    let mirror = filter.request_mirror.as_ref()?;
    let percent = mirror.percent?;
    let plain = Filter {
        request_mirror: Some(MirrorFilter {
            backend_ref: BackendRef {
                name: mirror.backend_ref.name.clone(),
                port: mirror.backend_ref.port,
                ..BackendRef::default()
            },
            percent: Some(percent),
            fraction: None,
        }),
        ..Filter::new(FilterType::RequestMirror)
    };
    let key = key(&mirror.backend_ref, port)?;
    (*filter == plain).then_some((key, percent))
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
