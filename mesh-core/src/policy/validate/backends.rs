//! The list of backends, with positions that stay.

use std::collections::HashMap;
use std::sync::Arc;

use super::attach::{Attachments, Target, fields};
use super::services::{Defined, Services, implicit};
use super::traffic;
use super::tunables::Tunables;
use crate::name::ServiceName;
use crate::policy::model::{
    AppProtocol, Backend, BackendIx, BackendKey, MtlsMode, Outbound, TlsMode, TransportModel,
};
use crate::policy::spec::{Kind, Resource, ResourceId};

/// A backend before it has its position.
type Id = (ServiceName, Option<u16>, Option<ResourceId>);

/// Backends as they are asked for. Positions are provisional until [`finish`](Self::finish).
pub(super) struct Backends<'a> {
    attached: &'a Attachments<'a>,
    services: Services,
    transport: HashMap<ServiceName, Arc<TransportModel>>,
    ids: HashMap<Id, u32>,
    made: Vec<Backend>,
}

impl<'a> Backends<'a> {
    pub(super) fn new(
        attached: &'a Attachments<'a>,
        services: Services,
        transport: HashMap<ServiceName, Arc<TransportModel>>,
    ) -> Self {
        Self {
            attached,
            services,
            transport,
            ids: HashMap::new(),
            made: Vec::new(),
        }
    }

    pub(super) fn services(&self) -> &Services {
        &self.services
    }

    /// The service, made implicit when it is not known.
    pub(super) fn service(&mut self, name: &ServiceName) -> &Defined {
        self.services
            .entry(name.clone())
            .or_insert_with(|| implicit(name))
    }

    /// The port that is meant when none is said, or any one is as good.
    pub(super) fn port(&mut self, name: &ServiceName, port: Option<u16>) -> Option<u16> {
        let ports = &self.service(name).ports;
        match ports.iter().find(|p| Some(p.number) == port) {
            Some(port) => Some(port.number),
            None => ports.first().map(|p| p.number),
        }
    }

    /// The backend of calls to a port of a service, sent by `route`.
    pub(super) fn get(
        &mut self,
        name: &ServiceName,
        port: Option<u16>,
        route: Option<&ResourceId>,
    ) -> BackendIx {
        let port = self.port(name, port);
        // A route has a backend of its own only if a policy is attached to it.
        let route = route
            .filter(|r| {
                let target = Target::Route((*r).clone());
                !self.attached.at(Kind::BackendPolicy, target).is_empty()
            })
            .cloned();
        let id = (name.clone(), port, route);
        if let Some(ix) = self.ids.get(&id) {
            return BackendIx(*ix);
        }
        let ix = u32::try_from(self.made.len()).unwrap_or(u32::MAX);
        let backend = self.make(BackendIx(ix), &id);
        self.made.push(backend);
        self.ids.insert(id, ix);
        BackendIx(ix)
    }

    /// One that [`get`](Self::get) has given out.
    pub(super) fn made(&self, ix: BackendIx) -> Option<&Backend> {
        self.made.get(usize::try_from(ix.0).ok()?)
    }

    fn make(&mut self, ix: BackendIx, id: &Id) -> Backend {
        let (name, port, route) = id;
        let tunables = self.tunables(name, route.as_ref());
        let plaintext = self
            .transport
            .get(name)
            .is_some_and(|t| t.mtls(*port) == MtlsMode::Disabled);
        let defined = self.service(name);
        let found = defined.ports.iter().find(|p| Some(p.number) == *port);
        let tls = match defined.tls {
            TlsMode::Mesh if plaintext => TlsMode::Plaintext,
            tls => tls,
        };
        let mut text = match port {
            Some(port) => format!("{name}:{port}"),
            None => name.to_string(),
        };
        if let Some(route) = route {
            text = format!("{text} by {route}");
        }
        Backend {
            ix,
            key: BackendKey {
                name: text.into(),
                protocol: found.map_or(AppProtocol::Http, |p| p.protocol),
                tls,
                identity: None,
            },
            service: name.clone(),
            port: *port,
            target_port: found.and_then(|p| p.target),
            subset: defined.subset.clone(),
            discovery: defined.discovery.clone(),
            stream_idle: tunables.stream_idle(),
            balance: tunables.balance,
            ejection: tunables.ejection,
            ceilings: tunables.ceilings,
            budget: tunables.budget,
            hash_on: tunables.hash_on,
            locality: tunables.locality,
            subset_fallback: defined.fallback,
            breaker: tunables.breaker,
            hedge: tunables.hedge,
            health: tunables.health,
            connection: tunables.connection,
            throttle: tunables.throttle,
            origins: tunables.origins,
        }
    }

    /// Mesh < namespace < service < subset < route, per top-level field.
    fn tunables(&self, name: &ServiceName, route: Option<&ResourceId>) -> Tunables {
        let mut out = Tunables::default();
        let of_route = route
            .map(|r| {
                self.attached
                    .at(Kind::BackendPolicy, Target::Route(r.clone()))
            })
            .unwrap_or_default();
        let chain = self.attached.for_service(Kind::BackendPolicy, name);
        for resource in chain.chain(of_route.iter().copied()) {
            if let Resource::BackendPolicy(policy) = resource {
                out.set(&policy.spec);
                for field in fields(resource) {
                    out.origins.set(field, resource.id());
                }
            }
        }
        for resource in self.attached.for_service(Kind::TrafficPolicy, name) {
            if let Resource::TrafficPolicy(policy) = resource
                && let Some(outbound) = &policy.spec.outbound
                && let Some(throttle) = &outbound.throttle
            {
                out.throttle = traffic::throttle(throttle);
                out.origins.set("outbound", resource.id());
            }
        }
        out
    }

    /// The list, with positions as in the snapshot before where that had the backend; and the map
    /// from provisional positions to these.
    pub(super) fn finish(self, previous: Option<&Outbound>) -> (Vec<Arc<Backend>>, Vec<BackendIx>) {
        let count = self.made.len();
        let before = previous.map(Outbound::backends).unwrap_or_default();
        let known: HashMap<&str, usize> = before
            .iter()
            .enumerate()
            .map(|(ix, b)| (&**b.key.name(), ix))
            .collect();
        let mut slots: Vec<Option<usize>> = vec![None; count];
        let mut homeless = Vec::new();
        for (n, backend) in self.made.iter().enumerate() {
            match known.get(&**backend.key.name()) {
                // Within the new length, so that no position stays empty.
                Some(ix) if *ix < count => slots[*ix] = Some(n),
                _ => homeless.push(n),
            }
        }
        let mut homeless = homeless.into_iter();
        for slot in &mut slots {
            if slot.is_none() {
                *slot = homeless.next();
            }
        }
        let mut moved = vec![BackendIx(0); count];
        for (ix, n) in slots.iter().enumerate() {
            if let Some(n) = n {
                moved[*n] = BackendIx(u32::try_from(ix).unwrap_or(u32::MAX));
            }
        }
        let mut made: Vec<Option<Backend>> = self.made.into_iter().map(Some).collect();
        let mut list = Vec::with_capacity(count);
        for (ix, n) in slots.into_iter().enumerate() {
            let Some(mut backend) = n.and_then(|n| made[n].take()) else {
                continue;
            };
            backend.ix = BackendIx(u32::try_from(ix).unwrap_or(u32::MAX));
            list.push(match before.get(ix) {
                Some(old) if **old == backend => old.clone(),
                _ => Arc::new(backend),
            });
        }
        (list, moved)
    }
}
