//! Which resources concern whom: a pure function of the whole policy.
//!
//! A caller of a service needs the service, the routes attached to it, and for each service that
//! those routes send to, its definition and how to treat it, and the faults and answers that they
//! refer to. An instance needs who may call it, how, and how much. Nothing else is sent, so a change of one service wakes only those who use it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_core::name::ServiceName;
use mesh_core::policy::spec::{
    BackendRef, Filter, Kind, ParentRef, Resource, ResourceId, TargetKind, TargetRef,
};

type Resources<'a> = BTreeMap<ResourceId, &'a Arc<Resource>>;

/// The policy, indexed by what each question needs.
#[derive(Debug, Default)]
pub(crate) struct Index<'a> {
    services: BTreeMap<ServiceName, &'a Arc<Resource>>,
    routes: BTreeMap<ServiceName, Vec<&'a Arc<Resource>>>,
    attached: BTreeMap<Target, Vec<&'a Arc<Resource>>>,
    /// What rules refer to by `ExtensionRef`.
    extensions: BTreeMap<ResourceId, &'a Arc<Resource>>,
    names: BTreeSet<ServiceName>,
}

/// What a policy is attached to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Mesh,
    Namespace(String),
    Service(ServiceName),
    Route(ResourceId),
}

impl<'a> Index<'a> {
    pub(crate) fn new(resources: &'a [Arc<Resource>]) -> Self {
        let mut index = Self::default();
        for resource in resources {
            index.add(resource);
        }
        index
    }

    /// Every service that the policy names, in whatever role.
    pub(crate) fn names(&self) -> &BTreeSet<ServiceName> {
        &self.names
    }

    /// The definition of a service, if it has one.
    pub(crate) fn service(&self, name: &ServiceName) -> Option<&'a Arc<Resource>> {
        self.services.get(name).copied()
    }

    /// What a caller of `name` needs, in the order of resource ids.
    pub(crate) fn outbound(&self, name: &ServiceName) -> Vec<&'a Arc<Resource>> {
        let mut found = Resources::new();
        let mut services = BTreeSet::from([name.clone()]);
        for route in self.routes.get(name).into_iter().flatten() {
            services.extend(sends_to(route));
            self.take(&mut found, &Target::Route(route.id()), CALLER);
            found.insert(route.id(), route);
            for id in refers_to(route) {
                if let Some(extension) = self.extensions.get(&id) {
                    found.insert(id, extension);
                }
            }
        }
        for base in services
            .iter()
            .filter_map(|name| self.base_of(name))
            .collect::<Vec<_>>()
        {
            services.insert(base);
        }
        self.take(&mut found, &Target::Mesh, CALLER);
        for service in &services {
            if let Some(definition) = self.service(service) {
                found.insert(definition.id(), definition);
            }
            self.take(
                &mut found,
                &Target::Namespace(service.namespace().to_owned()),
                CALLER,
            );
            self.take(&mut found, &Target::Service(service.clone()), CALLER);
        }
        found.into_values().collect()
    }

    /// What an instance of `name` needs to receive calls, in the order of resource ids.
    pub(crate) fn inbound(&self, name: &ServiceName) -> Vec<&'a Arc<Resource>> {
        let mut found = Resources::new();
        for target in [
            Target::Mesh,
            Target::Namespace(name.namespace().to_owned()),
            Target::Service(name.clone()),
        ] {
            self.take(&mut found, &target, CALLEE);
        }
        found.into_values().collect()
    }

    /// The service whose endpoints a subset selects from.
    pub(crate) fn base_of(&self, name: &ServiceName) -> Option<ServiceName> {
        match &**self.service(name)? {
            Resource::Service(service) => {
                let base = service.spec.subset_of.as_deref()?;
                ServiceName::parse(base, name.namespace()).ok()
            }
            _ => None,
        }
    }

    fn add(&mut self, resource: &'a Arc<Resource>) {
        let namespace = &resource.metadata().namespace;
        match &**resource {
            Resource::Service(_) => {
                if let Ok(name) = ServiceName::new(namespace, &resource.metadata().name) {
                    self.names.insert(name.clone());
                    self.services.insert(name, resource);
                }
            }
            Resource::HttpRoute(route) => self.add_route(resource, &route.spec.parent_refs),
            Resource::GrpcRoute(route) => self.add_route(resource, &route.spec.parent_refs),
            Resource::BackendPolicy(policy) => self.attach(resource, &policy.spec.target_refs),
            Resource::AccessPolicy(policy) => self.attach(resource, &policy.spec.target_refs),
            Resource::TransportPolicy(policy) => self.attach(resource, &policy.spec.target_refs),
            Resource::TrafficPolicy(policy) => self.attach(resource, &policy.spec.target_refs),
            Resource::Fault(_)
            | Resource::DirectResponse(_)
            | Resource::StickySplit(_)
            | Resource::TrailerEdit(_) => {
                self.extensions.insert(resource.id(), resource);
            }
            _ => {}
        }
    }

    fn add_route(&mut self, resource: &'a Arc<Resource>, parents: &[ParentRef]) {
        let own = &resource.metadata().namespace;
        for parent in parents {
            let namespace = parent.namespace.as_ref().unwrap_or(own);
            if let Ok(name) = ServiceName::new(namespace, &parent.name) {
                self.names.insert(name.clone());
                let routes = self.routes.entry(name).or_default();
                // Two ports of one service are two parents of one route.
                if !routes.iter().any(|known| Arc::ptr_eq(known, resource)) {
                    routes.push(resource);
                }
            }
        }
        self.names.extend(sends_to(resource));
    }

    fn attach(&mut self, resource: &'a Arc<Resource>, targets: &[TargetRef]) {
        let own = &resource.metadata().namespace;
        for target in targets {
            let name = target.name.clone().unwrap_or_default();
            let route = |kind| {
                let namespace = own.clone();
                Some(Target::Route(ResourceId {
                    kind,
                    namespace,
                    name: name.clone(),
                }))
            };
            let target = match target.kind {
                TargetKind::Mesh => Some(Target::Mesh),
                TargetKind::Namespace if name.is_empty() => Some(Target::Namespace(own.clone())),
                TargetKind::Namespace => Some(Target::Namespace(name.clone())),
                TargetKind::Service => ServiceName::new(own, &name).ok().map(Target::Service),
                TargetKind::HttpRoute => route(Kind::HttpRoute),
                TargetKind::GrpcRoute => route(Kind::GrpcRoute),
            };
            if let Some(target) = target {
                if let Target::Service(name) = &target {
                    self.names.insert(name.clone());
                }
                self.attached.entry(target).or_default().push(resource);
            }
        }
    }

    fn take(&self, found: &mut Resources<'a>, target: &Target, kinds: &[Kind]) {
        for policy in self.attached.get(target).into_iter().flatten() {
            if kinds.contains(&policy.kind()) && concerns(policy, kinds) {
                found.insert(policy.id(), policy);
            }
        }
    }
}

const CALLER: &[Kind] = &[
    Kind::BackendPolicy,
    Kind::TransportPolicy,
    Kind::TrafficPolicy,
];
const CALLEE: &[Kind] = &[
    Kind::AccessPolicy,
    Kind::TransportPolicy,
    Kind::TrafficPolicy,
];

/// Whether a TrafficPolicy says something to callers, or to servers: one side is not woken for the
/// other.
fn concerns(policy: &Resource, kinds: &[Kind]) -> bool {
    match policy {
        Resource::TrafficPolicy(policy) if kinds == CALLER => policy.spec.outbound.is_some(),
        Resource::TrafficPolicy(policy) => policy.spec.inbound.is_some(),
        _ => true,
    }
}

/// Calls `f` with the targets and filters of each rule of a route.
fn each_rule<'r>(route: &'r Resource, mut f: impl FnMut(&'r [BackendRef], &'r [Filter])) {
    match route {
        Resource::HttpRoute(route) => {
            for each in &route.spec.rules {
                f(&each.backend_refs, &each.filters);
            }
        }
        Resource::GrpcRoute(route) => {
            for each in &route.spec.rules {
                f(&each.backend_refs, &each.filters);
            }
        }
        _ => {}
    }
}

/// The faults, answers, sticky splits and edits that a route refers to, in its own namespace.
fn refers_to(route: &Resource) -> BTreeSet<ResourceId> {
    let mut ids = BTreeSet::new();
    each_rule(route, |_, filters| {
        for to in filters.iter().filter_map(|f| f.extension_ref.as_ref()) {
            let kind = EXTENSIONS.into_iter().find(|kind| kind.as_str() == to.kind);
            ids.extend(kind.map(|kind| ResourceId {
                kind,
                namespace: route.metadata().namespace.clone(),
                name: to.name.clone(),
            }));
        }
    });
    ids
}

const EXTENSIONS: [Kind; 4] = [
    Kind::Fault,
    Kind::DirectResponse,
    Kind::StickySplit,
    Kind::TrailerEdit,
];

/// The services that a route sends to, mirrors included.
fn sends_to(route: &Resource) -> BTreeSet<ServiceName> {
    let own = &route.metadata().namespace;
    let mut names = BTreeSet::new();
    each_rule(route, |backends, filters| {
        let all_filters = backends
            .iter()
            .flat_map(|backend| &backend.filters)
            .chain(filters);
        let mirrors = all_filters.filter_map(|filter| filter.request_mirror.as_ref());
        for backend in backends
            .iter()
            .chain(mirrors.map(|mirror| &mirror.backend_ref))
        {
            let namespace = backend.namespace.as_ref().unwrap_or(own);
            names.extend(ServiceName::new(namespace, &backend.name));
        }
    });
    names
}
