use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::name::ServiceName;
use mesh_core::policy::Store;
use mesh_core::policy::model::{BackendIx, BackendKey, Discovery, Service, Snapshot};
use mesh_core::retry::Budget;
use mesh_core::telemetry::names;
use tokio::sync::watch;

use super::completed::Completed;
use super::held::Held;
use super::{Connector, LiveView, ServiceState, ServiceView, Settings, ViewReader};
use crate::fault::Faults;
use crate::mesh::{Shared, UserLayers};
use crate::metrics::Edges;
use crate::runtime::{self, Tasks};
use crate::telemetry::Recorder;

/// How often ejections are swept and kept endpoints looked at again.
const SWEEP: Duration = Duration::from_secs(1);

/// Builds views.
pub(crate) struct Reconciler {
    pub(super) shared: Arc<Shared>,
    pub(super) store: Store,
    pub(super) layers: Arc<UserLayers>,
    pub(super) settings: Settings,
    pub(super) connector: Connector,
    pub(super) edges: Arc<Edges>,
    faults: Faults,
    views: watch::Sender<Arc<LiveView>>,
    services: HashMap<ServiceName, Arc<ServiceState>>,
    pub(super) backends: HashMap<BackendKey, Held>,
    /// The last policy that had to be completed.
    pub(super) completed: Option<Completed>,
    version: u64,
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
}

impl Drop for Reconciler {
    fn drop(&mut self) {
        self.backends.values().for_each(Held::release);
    }
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
