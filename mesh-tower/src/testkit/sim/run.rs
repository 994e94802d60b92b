//! Builds the world of a scenario, lets the time pass, and writes down what happens.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::balance::EndpointInfo;
use mesh_core::identity::SpiffeId;
use mesh_core::name::ServiceName;
use mesh_core::policy::spec::{Kind, Metadata, Service as ServiceResource, ServiceSpec};
use mesh_core::policy::text::{Source, load_in};
use mesh_core::policy::{Layer, Resource};
use mesh_core::report::EndpointHealth;
use tokio::sync::watch;

use super::generate::generate;
use super::host::{Host, InMesh};
use super::net::{Net, Uplink};
use super::outcome::{Outcome, Turn};
use super::record::Record;
use super::{Change, Load, Scenario, SimError};
use crate::client::MeshClient;
use crate::mesh::Mesh;
use crate::testkit::begin_windows;

/// How often the endpoints' states are looked at.
pub(super) const LOOK: Duration = Duration::from_millis(100);
/// How long calls in flight are waited for at the end.
const PATIENCE: Duration = Duration::from_secs(120);
pub(super) const NAMESPACE: &str = "shop";
const TRUST_DOMAIN: &str = "sim.mesh";

/// One process with a mesh.
struct Process {
    name: String,
    mesh: Mesh,
}

/// Everything that a scenario is about.
struct World {
    record: Arc<Record>,
    hosts: Vec<Arc<Host>>,
    processes: Vec<Process>,
    /// Name and infos of each service's endpoints, as discovery has them.
    services: Vec<(ServiceName, Vec<(String, EndpointInfo)>)>,
    rates: Vec<watch::Sender<f64>>,
}

pub(super) fn run(scenario: &Scenario) -> Result<Outcome, SimError> {
    // Every generator without a seed of its own takes it from here.
    fastrand::seed(scenario.seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|error| SimError::new(format!("no runtime: {error}")))?;
    runtime.block_on(simulate(scenario))
}

async fn simulate(scenario: &Scenario) -> Result<Outcome, SimError> {
    begin_windows().await;

    let record = Arc::new(Record::start());
    let mut world = World::new(scenario, &record)?;
    let looking = looks(&world);
    let mut loads = tokio::task::JoinSet::new();
    for (index, load) in scenario.loads.iter().enumerate() {
        world.start_load(scenario, index, load, &mut loads)?;
    }
    let mut changes = scenario.changes.clone();
    changes.sort_by_key(|(at, _)| *at);
    for (at, change) in changes.iter().filter(|(at, _)| *at < scenario.lasting) {
        tokio::time::sleep_until(record.start + *at).await;
        world.apply(change)?;
    }
    let wait = async { while loads.join_next().await.is_some() {} };
    let _ = tokio::time::timeout_at(record.start + scenario.lasting + PATIENCE, wait).await;
    drop(loads);
    drop(looking);
    let metrics = world.processes.iter();
    let metrics = metrics.map(|process| process.mesh.metrics_text()).collect();
    let seen = std::mem::take(&mut *record.seen());
    Ok(Outcome {
        name: scenario.name.clone(),
        seed: scenario.seed,
        log: seen.log,
        calls: seen.calls,
        arrivals: seen.arrivals,
        turns: seen.turns,
        expects: scenario.expects.clone(),
        metrics,
    })
}

// === impl World ===

impl World {
    fn new(scenario: &Scenario, record: &Arc<Record>) -> Result<Self, SimError> {
        let mut net = Net::default();
        let (mut hosts, mut services) = (Vec::new(), Vec::new());
        for (number, service) in scenario.services.iter().enumerate() {
            let name = name(&service.name)?;
            let mut infos = Vec::new();
            for (index, spec) in service.hosts.iter().enumerate() {
                let addr = address(number, index)?;
                let host_name = format!("{}#{index}", name.name());
                let mut info = EndpointInfo::new(addr);
                info.labels = Arc::new(spec.labels.clone());
                info.zone = spec.zone.as_deref().map(Arc::from);
                info.weight = spec.weight.unwrap_or(info.weight);
                info.priority = spec.priority;
                infos.push((host_name.clone(), info));
                let host = Arc::new(Host::new(
                    host_name,
                    addr,
                    spec.zone.clone(),
                    scenario.across_zones,
                    spec.behaviour.clone(),
                    record.clone(),
                    fastrand::u64(..),
                ));
                net.hosts.insert(addr, host.clone());
                hosts.push(host);
            }
            services.push((name, infos));
        }
        let net = Arc::new(net);
        let mut world = Self {
            record: record.clone(),
            hosts,
            processes: Vec::new(),
            services,
            rates: Vec::new(),
        };
        for service in scenario.services.iter().filter(|service| service.mesh) {
            let own = name(&service.name)?;
            let members: Vec<_> = world
                .hosts
                .iter()
                .filter(|host| is_of(&host.name, own.name()))
                .cloned()
                .collect();
            for host in members {
                let process = host.name.clone();
                let mesh = world.process(scenario, &net, &process, &own, host.zone.as_deref())?;
                host.join(InMesh {
                    layer: mesh.server_layer(),
                    calls: service.calls.iter().map(|to| mesh.client(to)).collect(),
                });
            }
        }
        for (index, load) in scenario.loads.iter().enumerate() {
            let own = name(&load.from)?;
            for caller in 0..load.callers {
                let process = format!("{}#{index}.{caller}", own.name());
                let mesh = world.process(scenario, &net, &process, &own, load.zone.as_deref())?;
                place(scenario, index, caller, &mesh);
            }
        }
        Ok(world)
    }

    /// Starts a process with a mesh, under the scenario's policy.
    fn process(
        &mut self,
        scenario: &Scenario,
        net: &Arc<Net>,
        process: &str,
        service: &ServiceName,
        zone: Option<&str>,
    ) -> Result<Mesh, SimError> {
        let uplink = Uplink {
            net: net.clone(),
            identity: SpiffeId::for_service(TRUST_DOMAIN, service).ok(),
            zone: zone.map(str::to_owned),
        };
        let mesh = Mesh::builder(&service.to_string())
            .connector(Arc::new(uplink))
            .zone(zone.unwrap_or_default())
            .build()
            .map_err(|error| SimError::new(format!("{error:#}")))?;
        let feed = mesh.feed();
        self.enact(&mesh, &scenario.policy)?;
        for (service, infos) in &self.services {
            let infos = infos.iter().map(|(_, info)| info.clone()).collect();
            feed.endpoints(service, Some(infos));
        }
        feed.set_connected(true);
        feed.set_ready(true);
        self.processes.push(Process {
            name: process.to_owned(),
            mesh: mesh.clone(),
        });
        Ok(mesh)
    }

    /// Puts a policy in force at one process.
    fn enact(&self, mesh: &Mesh, text: &str) -> Result<(), SimError> {
        let source = Source::new("policy", text);
        let loaded = load_in(std::slice::from_ref(&source), NAMESPACE);
        if !loaded.diagnostics.0.is_empty() {
            return Err(SimError::new(loaded.diagnostics.render(&[source])));
        }
        let mut resources = loaded.resources;
        let defined: BTreeSet<_> = resources
            .iter()
            .map(|resource| resource.id())
            .filter(|id| id.kind == Kind::Service)
            .map(|id| (id.namespace, id.name))
            .collect();
        for (service, _) in &self.services {
            let id = (service.namespace().to_owned(), service.name().to_owned());
            if !defined.contains(&id) {
                let metadata = Metadata {
                    namespace: id.0,
                    name: id.1,
                    ..Metadata::default()
                };
                let service = ServiceResource::new(metadata, ServiceSpec::default());
                resources.push(Arc::new(Resource::from(service)));
            }
        }
        mesh.store()
            .apply(Layer::File, resources)
            .map(drop)
            .map_err(|errors| SimError::new(errors.render(&[source])))
    }

    fn apply(&mut self, change: &Change) -> Result<(), SimError> {
        self.record.line(&change.text());
        match change {
            Change::Behave { host, behaviour } => {
                for host in self.hosts_of(host)? {
                    host.behave(behaviour.clone());
                }
            }
            Change::Heal { host } => {
                for host in self.hosts_of(host)? {
                    host.behave(host.first.clone());
                }
            }
            Change::Policy { text } => {
                for process in &self.processes {
                    self.enact(&process.mesh, text)?;
                }
            }
            Change::Rate { load, rate } => match self.rates.get(*load) {
                Some(sender) => drop(sender.send(*rate)),
                None => return Err(SimError::new(format!("there is no load {load}"))),
            },
            Change::Discovered { host, present } => {
                let addrs: BTreeSet<_> = self.hosts_of(host)?.iter().map(|h| h.addr).collect();
                for (service, infos) in &mut self.services {
                    if infos.iter().any(|(_, info)| addrs.contains(&info.addr)) {
                        let hidden = (!*present).then_some(&addrs);
                        let shown = infos
                            .iter()
                            .map(|(_, info)| info.clone())
                            .filter(|info| hidden.is_none_or(|gone| !gone.contains(&info.addr)));
                        let shown: Vec<_> = shown.collect();
                        for process in &self.processes {
                            process.mesh.feed().endpoints(service, Some(shown.clone()));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn hosts_of(&self, text: &str) -> Result<Vec<Arc<Host>>, SimError> {
        let name = text.rsplit_once('/').map_or(text, |(_, name)| name);
        let found: Vec<_> = self
            .hosts
            .iter()
            .filter(|host| host.name == name || is_of(&host.name, name))
            .cloned()
            .collect();
        if found.is_empty() {
            return Err(SimError::new(format!("there is no host {text}")));
        }
        Ok(found)
    }

    fn start_load(
        &mut self,
        scenario: &Scenario,
        index: usize,
        load: &Load,
        loads: &mut tokio::task::JoinSet<()>,
    ) -> Result<(), SimError> {
        let own = name(&load.from)?;
        let prefix = format!("{}#{index}.", own.name());
        let clients: Vec<(String, MeshClient)> = self
            .processes
            .iter()
            .filter(|process| process.name.starts_with(&prefix))
            .map(|process| (process.name.clone(), process.mesh.client(&load.to)))
            .collect();
        let (sender, rate) = watch::channel(load.rate);
        self.rates.push(sender);
        let end = load.between.1.unwrap_or(scenario.lasting);
        let end = end.min(scenario.lasting);
        let (record, load) = (self.record.clone(), load.clone());
        let rng = fastrand::Rng::with_seed(fastrand::u64(..));
        loads.spawn(generate(record, index, load, clients, rate, end, rng));
        Ok(())
    }
}

/// Says which of the processes of its service a caller is, as the control server does.
fn place(scenario: &Scenario, index: usize, caller: usize, mesh: &Mesh) {
    let short = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let own = &scenario.loads[index].from;
    let (mut at, mut peers, mut zones) = (0, 0, BTreeMap::new());
    for (number, load) in scenario.loads.iter().enumerate() {
        if load.from != *own {
            continue;
        }
        if number == index {
            at = peers + short(caller);
        }
        peers += short(load.callers);
        if let Some(zone) = &load.zone {
            *zones.entry(Arc::from(zone.as_str())).or_default() += short(load.callers);
        }
    }
    mesh.feed().peers(at, peers, zones);
}

/// Watches the endpoints' states until it is dropped.
fn looks(world: &World) -> crate::runtime::AbortOnDrop {
    let names: BTreeMap<SocketAddr, String> = world
        .hosts
        .iter()
        .map(|host| (host.addr, host.name.clone()))
        .collect();
    let processes: Vec<_> = world
        .processes
        .iter()
        .map(|process| (process.name.clone(), process.mesh.downgrade()))
        .collect();
    let record = world.record.clone();
    crate::runtime::AbortOnDrop::spawn(async move {
        let mut states: BTreeMap<(usize, SocketAddr), EndpointHealth> = BTreeMap::new();
        loop {
            tokio::time::sleep(LOOK).await;
            for (index, (by, mesh)) in processes.iter().enumerate() {
                let Some(mesh) = mesh.upgrade() else { continue };
                let mut endpoints = mesh.report().endpoints;
                endpoints.sort_by_key(|endpoint| endpoint.addr);
                for endpoint in endpoints {
                    let before = states.insert((index, endpoint.addr), endpoint.state);
                    if before.unwrap_or_default() == endpoint.state {
                        continue;
                    }
                    let Some(host) = names.get(&endpoint.addr) else {
                        continue;
                    };
                    let why = endpoint.reason.as_deref().unwrap_or("-");
                    record.line(&format!("{by} sees {host} {:?} ({why})", endpoint.state));
                    let at = record.now();
                    record.seen().turns.push(Turn {
                        at,
                        by: by.clone(),
                        host: host.clone(),
                        now: endpoint.state,
                    });
                }
            }
        }
    })
}

fn name(text: &str) -> Result<ServiceName, SimError> {
    ServiceName::parse(text, NAMESPACE).map_err(|error| SimError::new(format!("{text}: {error}")))
}

/// `reviews#0` is of `reviews`.
fn is_of(host: &str, service: &str) -> bool {
    host.strip_prefix(service)
        .is_some_and(|rest| rest.starts_with('#'))
}

fn address(service: usize, host: usize) -> Result<SocketAddr, SimError> {
    let too_many = |_| SimError::new("at most 250 services of 50,000 hosts");
    let net = u8::try_from(service).map_err(too_many)?;
    let (block, last) = (host / 250, host % 250 + 1);
    let block = u8::try_from(block).map_err(too_many)?;
    let last = u8::try_from(last).map_err(too_many)?;
    Ok(([10, net, block, last], 80).into())
}
