//! The snapshot, with the parts of the one before.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::attach::{Attachments, Target};
use super::backends::Backends;
use super::findings::Findings;
use super::index::Index;
use super::routes::{AttachedRoute, settle};
use super::{access, overlap, routes, services, traffic, transport, tunables};
use crate::name::ServiceName;
use crate::policy::model::RouteMatch;
use crate::policy::model::{
    AccessModel, Attached, BackendIx, Discovery, Inbound, InboundTraffic, Outbound, Route, Service,
    Snapshot, Split, TransportModel,
};
use crate::policy::spec::{Kind, ResourceId};
use crate::route::RouteTable;

pub(super) struct Built {
    pub(super) outbound: Outbound,
    pub(super) inbound: Inbound,
}

pub(super) fn build(
    index: &Index<'_>,
    attached: &Attachments<'_>,
    previous: Option<&Snapshot>,
    findings: &mut Findings,
) -> Built {
    tunables::check(index, findings);
    transport::check(index, findings);
    let services = services::define(index, findings);
    let inbound = inbound(index, attached, previous, findings);
    let transport = services
        .keys()
        .map(|name| (name.clone(), inbound.transport_for(name)));
    let transport: HashMap<_, _> = transport.collect();

    let mut backends = Backends::new(attached, services, transport);
    let routes = routes::compile(index, &mut backends, findings);
    overlap::check(&routes, findings);
    let outbound = outbound(index, backends, routes, previous.map(Snapshot::outbound));
    Built { outbound, inbound }
}

// === outbound ===

/// A service before the final positions of backends are known.
struct Plan {
    default_backend: BackendIx,
    port_backends: Vec<(u16, BackendIx)>,
    routes: Vec<(Option<u16>, Route)>,
}

fn outbound(
    index: &Index<'_>,
    mut backends: Backends<'_>,
    routes: Vec<AttachedRoute<'_>>,
    previous: Option<&Outbound>,
) -> Outbound {
    let mut attached = by_service(routes, index.options.local_namespace());
    let names: Vec<ServiceName> = backends.services().keys().cloned().collect();
    let mut plans = BTreeMap::new();
    for name in &names {
        let ports: Vec<u16> = backends
            .service(name)
            .ports
            .iter()
            .map(|p| p.number)
            .collect();
        let default_backend = backends.get(name, None, None);
        let port_backends = ports
            .into_iter()
            .map(|port| (port, backends.get(name, Some(port), None)))
            .collect();
        let plan = Plan {
            default_backend,
            port_backends,
            routes: attached.remove(name).unwrap_or_default(),
        };
        plans.insert(name.clone(), plan);
    }
    let defined: HashMap<ServiceName, (Discovery, bool)> = backends
        .services()
        .iter()
        .map(|(name, d)| (name.clone(), (d.discovery.clone(), d.implicit)))
        .collect();
    let (list, moved) = backends.finish(previous);
    let mut out = Outbound {
        backends: list,
        ..Outbound::default()
    };
    for (name, plan) in plans {
        let Some((discovery, implicit)) = defined.get(&name) else {
            continue;
        };
        let before = previous.and_then(|p| p.service(&name));
        let service = service(&name, plan, &moved, discovery.clone(), *implicit, before);
        hosts(&mut out.hosts, &service, index.options.default_namespace());
        out.services.insert(name, service);
    }
    out
}

/// The routes of each service. Where callers of this process's namespace have routes of their own,
/// these replace the producer's; consumer routes of other namespaces are not for this process.
fn by_service(
    routes: Vec<AttachedRoute<'_>>,
    local: Option<&str>,
) -> BTreeMap<ServiceName, Vec<(Option<u16>, Route)>> {
    let ours = |route: &AttachedRoute<'_>| {
        local.is_some_and(|local| route.resource.metadata().namespace == local)
    };
    let refined: BTreeSet<ServiceName> = routes
        .iter()
        .filter(|r| r.consumer && ours(r))
        .map(|r| r.service.clone())
        .collect();
    let mut out: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for route in routes {
        let holds = if route.consumer {
            ours(&route)
        } else {
            !refined.contains(&route.service)
        };
        if holds {
            let list = out.entry(route.service).or_default();
            list.push((route.port, route.route));
        }
    }
    // Where two matches are equal otherwise, the one that is only about gRPC is more specific.
    let grpc = |route: &Route| route.matches.iter().all(RouteMatch::is_grpc);
    for list in out.values_mut() {
        list.sort_by_key(|(_, route)| !grpc(route));
    }
    out
}

fn service(
    name: &ServiceName,
    plan: Plan,
    moved: &[BackendIx],
    discovery: Discovery,
    implicit: bool,
    before: Option<&Arc<Service>>,
) -> Arc<Service> {
    let place = |ix: BackendIx| moved.get(ix.get()).copied().unwrap_or(ix);
    let default_backend = place(plan.default_backend);
    let port_backends: Vec<(u16, BackendIx)> = plan
        .port_backends
        .into_iter()
        .map(|(port, ix)| (port, place(ix)))
        .collect();
    let mut routes: Vec<(Option<u16>, Arc<Route>)> = Vec::new();
    type Place<'a> = (Option<u16>, Option<&'a ResourceId>, usize);
    let known: HashMap<Place<'_>, &Arc<Route>> = before
        .map(|service| service.routes.as_slice())
        .unwrap_or_default()
        .iter()
        .map(|(port, r)| ((*port, r.origin.resource(), r.origin.rule), r))
        .collect();
    let mut keep = |port: Option<u16>, route: Route| {
        let old = known.get(&(port, route.origin.resource(), route.origin.rule));
        routes.push(match old {
            Some(old) if ***old == route => (port, (*old).clone()),
            _ => (port, Arc::new(route)),
        });
    };
    let mut ports: BTreeSet<Option<u16>> = port_backends.iter().map(|(p, _)| Some(*p)).collect();
    let mut for_all = false;
    for (port, mut route) in plan.routes {
        settle(&mut route, moved);
        ports.insert(port);
        for_all |= port.is_none();
        keep(port, route);
    }
    // A port without any route of the policy goes to the service itself.
    if port_backends.is_empty() {
        ports.insert(None);
    }
    if !for_all {
        let label = format!("{}/default", name.name());
        for port in &ports {
            if known_route(&routes, *port) {
                continue;
            }
            let backend = port_backends.iter().find(|(p, _)| Some(*p) == *port);
            let backend = backend.map_or(default_backend, |(_, ix)| *ix);
            let route = Route::new(label.as_str(), Split::one(backend));
            let old = known.get(&(*port, None, 0));
            routes.push(match old {
                Some(old) if ***old == route => (*port, (*old).clone()),
                _ => (*port, Arc::new(route)),
            });
        }
    }
    let mut service = Service {
        name: name.clone(),
        tables: Vec::new(),
        routes,
        default_backend,
        port_backends,
        discovery,
        implicit,
    };
    match before {
        Some(before) if **before == service => before.clone(),
        _ => {
            service.tables = tables(&service, &ports);
            Arc::new(service)
        }
    }
}

fn known_route(routes: &[(Option<u16>, Arc<Route>)], port: Option<u16>) -> bool {
    routes.iter().any(|(p, _)| *p == port)
}

/// One table per port, and one for calls that name none: the table of the first port, or of the
/// only port that routes name.
fn tables(service: &Service, ports: &BTreeSet<Option<u16>>) -> Vec<(Option<u16>, Arc<RouteTable>)> {
    let table = |port: Option<u16>| {
        let routes = service.routes.iter().filter(|(p, r)| {
            // The built-in default of "no port" is not for ports.
            *p == port || (p.is_none() && r.origin.resource().is_some())
        });
        Arc::new(RouteTable::new(routes.map(|(_, route)| route.clone())))
    };
    let mut out: Vec<(Option<u16>, Arc<RouteTable>)> = ports
        .iter()
        .filter(|p| p.is_some())
        .map(|p| (*p, table(*p)))
        .collect();
    let named: Vec<Option<u16>> = ports.iter().copied().filter(Option::is_some).collect();
    let usual = match service.port_backends.first() {
        Some((port, _)) => Some(*port),
        None => match named.as_slice() {
            [only] => *only,
            _ => None,
        },
    };
    let usual = out.iter().find(|(p, _)| *p == usual && p.is_some());
    let last = usual.map_or_else(|| table(None), |(_, table)| table.clone());
    out.push((None, last));
    out
}

fn hosts(out: &mut HashMap<Arc<str>, ServiceName>, service: &Service, namespace: &str) {
    let name = service.name();
    out.insert(name.host().into(), name.clone());
    if name.namespace() == namespace {
        out.entry(name.name().into())
            .or_insert_with(|| name.clone());
    }
    if let Discovery::External { host, .. } = &service.discovery {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        out.entry(host.into()).or_insert_with(|| name.clone());
    }
}

// === inbound ===

fn inbound(
    index: &Index<'_>,
    attached: &Attachments<'_>,
    previous: Option<&Snapshot>,
    findings: &mut Findings,
) -> Inbound {
    let compiled = access::compile(index, findings);
    let before = previous.map(Snapshot::inbound);
    let mesh = compiled.at(attached, &Target::Mesh).unwrap_or_default();
    let mut access: Attached<AccessModel> = Attached {
        mesh: reuse(mesh, before.map(|b| &b.access.mesh)),
        ..Attached::default()
    };
    for target in attached.targets(Kind::AccessPolicy) {
        let Some(model) = compiled.at(attached, target) else {
            continue;
        };
        match target {
            Target::Namespace(namespace) => {
                let namespace: Arc<str> = namespace.as_str().into();
                let old = before.and_then(|b| b.access.namespaces.get(&namespace));
                access.namespaces.insert(namespace, reuse(model, old));
            }
            Target::Service(name, _) => {
                let old = before.and_then(|b| b.access.services.get(name));
                access.services.insert(name.clone(), reuse(model, old));
            }
            Target::Mesh | Target::Route(_) => {}
        }
    }

    let mesh = Arc::new(transport::for_rest(attached, None));
    let mut transport: Attached<TransportModel> = Attached {
        mesh: reuse(mesh, before.map(|b| &b.transport.mesh)),
        ..Attached::default()
    };
    let mut named = BTreeSet::new();
    for target in attached.targets(Kind::TransportPolicy) {
        match target {
            Target::Namespace(namespace) => {
                let model = Arc::new(transport::for_rest(attached, Some(namespace)));
                let namespace: Arc<str> = namespace.as_str().into();
                let old = before.and_then(|b| b.transport.namespaces.get(&namespace));
                transport.namespaces.insert(namespace, reuse(model, old));
            }
            Target::Service(name, _) => {
                named.insert(name.clone());
            }
            Target::Mesh | Target::Route(_) => {}
        }
    }
    for name in named.iter().chain(attached.subsets(&named)) {
        let model = Arc::new(transport::for_service(attached, name));
        let old = before.and_then(|b| b.transport.services.get(name));
        let model = reuse(model, old);
        transport.services.insert(name.clone(), model);
    }
    Inbound {
        access,
        transport,
        traffic: traffic(index, attached, before, findings),
    }
}

fn traffic(
    index: &Index<'_>,
    attached: &Attachments<'_>,
    before: Option<&Inbound>,
    findings: &mut Findings,
) -> Attached<InboundTraffic> {
    let compiled = traffic::compile(index, findings);
    let mesh = Arc::new(compiled.for_rest(attached, None));
    let mut out: Attached<InboundTraffic> = Attached {
        mesh: reuse(mesh, before.map(|b| &b.traffic.mesh)),
        ..Attached::default()
    };
    let mut named = BTreeSet::new();
    for target in attached.targets(Kind::TrafficPolicy) {
        match target {
            Target::Namespace(namespace) => {
                let model = Arc::new(compiled.for_rest(attached, Some(namespace)));
                let namespace: Arc<str> = namespace.as_str().into();
                let old = before.and_then(|b| b.traffic.namespaces.get(&namespace));
                out.namespaces.insert(namespace, reuse(model, old));
            }
            Target::Service(name, _) => {
                named.insert(name.clone());
            }
            Target::Mesh | Target::Route(_) => {}
        }
    }
    for name in named.iter().chain(attached.subsets(&named)) {
        let model = Arc::new(compiled.for_service(attached, name));
        let old = before.and_then(|b| b.traffic.services.get(name));
        out.services.insert(name.clone(), reuse(model, old));
    }
    out
}

fn reuse<T: PartialEq>(new: Arc<T>, old: Option<&Arc<T>>) -> Arc<T> {
    match old {
        Some(old) if *old == new => old.clone(),
        _ => new,
    }
}
