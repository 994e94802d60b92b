use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::balance::{self, EndpointInfo};
use mesh_core::identity::SpiffeId;
use mesh_core::name::ServiceName;
use mesh_core::policy::model::{
    Backend, BackendIx, BackendKey, Discovery, Service, Snapshot, SubsetFallback,
};
use mesh_core::policy::spec;
use mesh_core::policy::{Layer, Options, Store};
use mesh_core::retry::Budget;
use mesh_core::telemetry::names;
use tokio::sync::watch;

use super::discovery::Discovered;
use super::{
    BackendState, BackendView, Connector, Endpoint, LiveView, ServiceState, ServiceView, Settings,
    ViewReader,
};
use crate::client::logical_stack;
use crate::fault::Faults;
use crate::health_check::Checks;
use crate::mesh::{Shared, UserLayers};
use crate::metrics::Edges;
use crate::runtime::{self, Tasks};
use crate::telemetry::Recorder;

/// How often ejections are swept and kept endpoints looked at again.
const SWEEP: Duration = Duration::from_secs(1);

/// An endpoint's identity across answers of discovery.
type Key = (SocketAddr, Option<SpiffeId>);

/// Builds views.
pub(crate) struct Reconciler {
    shared: Arc<Shared>,
    store: Store,
    layers: Arc<UserLayers>,
    settings: Settings,
    connector: Connector,
    edges: Arc<Edges>,
    faults: Faults,
    views: watch::Sender<Arc<LiveView>>,
    services: HashMap<ServiceName, Arc<ServiceState>>,
    backends: HashMap<BackendKey, Held>,
    /// The last policy that had to be completed.
    completed: Option<Completed>,
    version: u64,
}

/// A policy with the services added that nobody defined but that have endpoints.
struct Completed {
    version: u64,
    added: BTreeSet<ServiceName>,
    snapshot: Arc<Snapshot>,
}

/// What the reconciler holds of a backend between views.
struct Held {
    discovered: Discovered,
    state: Arc<BackendState>,
    view: Arc<BackendView>,
    endpoints: HashMap<Key, Arc<Endpoint>>,
    /// Endpoints that discovery no longer names, kept because they still work.
    kept: bool,
    checks: Checks,
    used: bool,
}

// === impl Reconciler ===

impl Reconciler {
    /// Builds the first view at once, and the next ones in a task.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn start(
        tasks: &Tasks,
        shared: Arc<Shared>,
        store: Store,
        connector: Connector,
        recorder: Recorder,
        layers: Arc<UserLayers>,
        settings: Settings,
    ) -> ViewReader {
        let empty = LiveView {
            version: 0,
            policy_version: 0,
            snapshot: store.current(),
            services: HashMap::new(),
            unknown: Default::default(),
            fed: settings.expect_feed,
        };
        let faults = Faults::new(recorder.clone());
        let edges = Arc::new(Edges::new(recorder));
        let (views, reader) = watch::channel(Arc::new(empty));
        let mut reconciler = Self {
            shared,
            store,
            layers,
            settings,
            connector,
            edges: edges.clone(),
            faults,
            views,
            services: HashMap::new(),
            backends: HashMap::new(),
            completed: None,
            version: 0,
        };
        reconciler.publish();
        tasks.spawn(reconciler.run());
        ViewReader::new(reader, edges)
    }

    async fn run(mut self) {
        let mut policy = self.store.watch();
        // What was published before this task first ran is seen again: that costs one view.
        policy.mark_changed();
        let shared = self.shared.clone();
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut refreshed = tokio::time::Instant::now();
        loop {
            // Weights from load reports are computed more or less often, as the policy says.
            let reports = self.report_period();
            let refresh = refreshed + reports.unwrap_or(SWEEP);
            tokio::select! {
                biased;
                changed = policy.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    policy.mark_unchanged();
                }
                () = shared.changed.notified() => {}
                () = tokio::time::sleep_until(refresh), if reports.is_some() => {
                    refreshed = tokio::time::Instant::now();
                    let now = runtime::now();
                    let views = self.backends.values().map(|held| held.view.balancer());
                    views.filter(|one| one.goes_by_reports()).for_each(|one| one.refresh(now));
                    continue;
                }
                _ = sweep.tick() => {
                    let now = runtime::now();
                    for held in self.backends.values() {
                        held.view.outliers().sweep(now);
                        held.view.balancer().refresh(now);
                    }
                    if !self.backends.values().any(|held| held.kept) {
                        continue;
                    }
                }
            }
            self.publish();
        }
    }

    /// The shortest time between two computations of weights, if any backend goes by them.
    fn report_period(&self) -> Option<Duration> {
        let balancers = self.backends.values().map(|held| held.view.balancer());
        let periods = balancers.filter(|one| one.goes_by_reports());
        periods.map(|one| one.policy().orca_period()).min()
    }

    fn publish(&mut self) {
        let asked = self.shared.asked();
        let (policy_version, snapshot) = self.policy(&asked);
        let unknown = self.shared.unknown();
        if policy_version > self.views.borrow().policy_version
            && let Ok(now) = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)
        {
            let gauge = self.edges.recorder().gauge(names::POLICY_AGE, &[]);
            gauge.set(now.as_secs_f64());
        }
        let mut wanted = asked.clone();
        let mut services = HashMap::new();
        for held in self.backends.values_mut() {
            held.used = false;
        }
        for name in &asked {
            if let Some(view) = self.service(name, &snapshot, &mut wanted) {
                services.insert(name.clone(), Arc::new(view));
            }
        }
        // What no route refers to any more drains: its last calls hold what they need.
        self.backends.retain(|_, held| {
            if !held.used {
                held.release();
            }
            held.used
        });
        self.services
            .retain(|name, _| services.contains_key(name) || asked.contains(name));
        self.version += 1;
        self.views.send_replace(Arc::new(LiveView {
            version: self.version,
            policy_version,
            snapshot,
            services,
            unknown,
            fed: self.settings.expect_feed || self.shared.is_fed(),
        }));
        self.faults.sweep();
        self.shared.publish_wanted(wanted);
    }

    fn service(
        &mut self,
        name: &ServiceName,
        snapshot: &Arc<Snapshot>,
        wanted: &mut BTreeSet<ServiceName>,
    ) -> Option<ServiceView> {
        let model = snapshot.outbound().service(name)?.clone();
        let mut backends = Vec::new();
        for ix in referred(&model) {
            let Some(policy) = snapshot.outbound().backend(ix) else {
                continue;
            };
            wanted.insert(policy.service().clone());
            if let Discovery::Registered(whole) = policy.discovery() {
                // A subset's endpoints are those of the whole that its labels select.
                wanted.insert(whole.clone());
            }
            backends.push((ix, self.backend(policy)));
        }
        let budget = snapshot
            .outbound()
            .backend(model.default_backend())?
            .budget();
        let state = self
            .services
            .entry(name.clone())
            .or_insert_with(|| {
                Arc::new(ServiceState {
                    budget: Budget::new(budget),
                })
            })
            .clone();
        state.budget.update(budget);
        let revision = snapshot.revision().clone();
        Some(ServiceView::new(
            model,
            state,
            backends,
            &self.edges,
            &self.faults,
            revision,
        ))
    }

    /// The policy in force, completed by the services that were asked for, have endpoints and are
    /// defined nowhere: they get the defaults, and whatever policies name them.
    fn policy(&mut self, asked: &BTreeSet<ServiceName>) -> (u64, Arc<Snapshot>) {
        let current = self.store.current();
        let version = current.version();
        let added: BTreeSet<_> = asked
            .iter()
            .filter(|name| current.outbound().service(name).is_none())
            .filter(|name| self.shared.pushed(name).borrow().is_some())
            .cloned()
            .collect();
        if added.is_empty() {
            self.completed = None;
            return (version, current);
        }
        if let Some(known) = &self.completed
            && known.version == version
            && known.added == added
        {
            return (version, known.snapshot.clone());
        }
        let mut resources = self.store.resources();
        if self.store.current().version() != version {
            // They are of a later policy, which may define what was missing.
            return self.policy(asked);
        }
        resources.extend(added.iter().map(|name| {
            let metadata = spec::Metadata {
                name: name.name().to_owned(),
                namespace: name.namespace().to_owned(),
                ..spec::Metadata::default()
            };
            Arc::new(spec::Service::new(metadata, spec::ServiceSpec::default()).into())
        }));
        let snapshot = match Store::new(Options::partial()).apply(Layer::Code, resources) {
            Ok(snapshot) => snapshot,
            Err(errors) => {
                tracing::error!(%errors, "services with endpoints but without a policy are left out");
                current
            }
        };
        self.completed = Some(Completed {
            version,
            added,
            snapshot: snapshot.clone(),
        });
        (version, snapshot)
    }

    fn backend(&mut self, policy: &Arc<Backend>) -> Arc<BackendView> {
        let recorder = self.edges.recorder().clone();
        let mut held = match self.backends.remove(policy.key()) {
            Some(held) => held,
            None => self.hold(policy, &recorder),
        };
        if !held.discovered.is(policy.discovery()) {
            held.discovered = Discovered::start(policy.discovery(), &self.shared);
        }
        held.state.update(policy);
        held.used = true;

        let place = self.shared.place();
        let answer = held.discovered.answer();
        let discovered = answer.is_some() || held.view.is_discovered();
        let infos = match answer {
            // Nobody knows (any more): what there is stays.
            None => held
                .view
                .set()
                .iter()
                .map(|state| state.info().clone())
                .collect(),
            Some(answer) => {
                let named = selected(policy, &answer, place.seed);
                held.kept = named.is_empty() && !held.view.set().is_empty();
                if held.kept {
                    still_working(&held)
                } else {
                    named
                }
            }
        };
        let before = held.view.set();
        let set = match before.is_of(&infos) {
            true => before.clone(),
            false => {
                let set = before.next(infos);
                set.warm_up_since(before, runtime::now());
                set
            }
        };
        let mut endpoints = HashMap::new();
        let mut in_order = Vec::with_capacity(set.len());
        for state in set.iter() {
            let info = state.info();
            let key = (info.addr, info.identity.clone());
            let endpoint = match held.endpoints.get(&key) {
                Some(endpoint) => {
                    endpoint.pool().tune(policy.connection(), info.alternate);
                    endpoint.clone()
                }
                None => {
                    let pool = self.connector.pool(policy, info, held.state.room());
                    Arc::new(Endpoint::new(pool, |seam| {
                        UserLayers::apply(&self.layers.endpoint, seam)
                    }))
                }
            };
            endpoints.insert(key, endpoint.clone());
            in_order.push(endpoint);
        }
        held.endpoints = endpoints;
        let view = BackendView::new(
            policy.clone(),
            held.state.clone(),
            set,
            in_order,
            Some(&held.view),
            discovered,
            &place,
            &recorder,
        );
        if !view.same_as(&held.view) {
            held.view = Arc::new(view);
            held.state.latest().send_replace(Some(held.view.clone()));
        }
        let view = held.view.clone();
        let service = view.service();
        let of_view = view.endpoints().map(|(state, one)| (one.id(), state));
        held.checks.update(
            policy.health(),
            of_view,
            |state| self.connector.reach(policy, state.info()),
            service,
            &recorder,
        );
        self.backends.insert(policy.key().clone(), held);
        view
    }

    fn hold(&self, policy: &Arc<Backend>, recorder: &Recorder) -> Held {
        let logical = logical_stack(&self.layers, self.settings.wait, recorder.tracing());
        let state = Arc::new(BackendState::new(policy, logical, recorder));
        let view = Arc::new(BackendView::new(
            policy.clone(),
            state.clone(),
            Default::default(),
            Vec::new(),
            None,
            false,
            &self.shared.place(),
            recorder,
        ));
        state.latest().send_replace(Some(view.clone()));
        Held {
            discovered: Discovered::start(policy.discovery(), &self.shared),
            state,
            view,
            endpoints: HashMap::new(),
            kept: false,
            checks: Checks::default(),
            used: true,
        }
    }
}

impl Drop for Reconciler {
    fn drop(&mut self) {
        self.backends.values().for_each(Held::release);
    }
}

// === impl Held ===

impl Held {
    /// A backend and its newest view hold each other; this lets both go with their last call.
    fn release(&self) {
        self.state.latest().send_replace(None);
    }
}

/// The endpoints of a backend among those that discovery names: its subset by labels, and of these
/// the ones that this process uses.
fn selected(policy: &Backend, answer: &[EndpointInfo], seed: u64) -> Vec<EndpointInfo> {
    let has_labels = |info: &&EndpointInfo| policy.selects(&info.labels);
    let mut named: Vec<_> = answer.iter().filter(has_labels).cloned().collect();
    if named.is_empty() && policy.subset_fallback() == SubsetFallback::AnyEndpoint {
        named = answer.to_vec();
    }
    if let Some(port) = policy.target_port() {
        named.iter_mut().for_each(|info| info.addr.set_port(port));
    }
    balance::subset(named, policy.balance().subset_size(), seed)
}

/// Endpoints that discovery does not name any more but that can still be used. Only asked when it
/// names none at all: then evidence counts more than its word.
fn still_working(held: &Held) -> Vec<EndpointInfo> {
    let works = |info: &EndpointInfo| {
        held.endpoints
            .get(&(info.addr, info.identity.clone()))
            .is_some_and(|endpoint| endpoint.pool().stats().open > 0)
    };
    held.view
        .set()
        .iter()
        .filter(|state| state.is_reachable() && works(state.info()))
        .map(|state| state.info().clone())
        .collect()
}

/// All backends that calls to a service may go to.
fn referred(service: &Service) -> BTreeSet<BackendIx> {
    let mut all = BTreeSet::from([service.default_backend()]);
    let of_port = service
        .all_routes()
        .iter()
        .map(|(port, _)| *port)
        .chain([None]);
    for port in of_port {
        all.insert(service.backend(port));
        for route in service.routes(port).routes() {
            let targets = route.split().targets();
            all.extend(targets.iter().map(|target| target.backend()));
            let mirrors = targets.iter().flat_map(|target| target.mirrors().iter());
            all.extend(mirrors.chain(route.mirrors().iter()).map(|m| m.backend()));
        }
    }
    all
}
