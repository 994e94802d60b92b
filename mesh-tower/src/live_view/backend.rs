use std::sync::{Arc, Mutex, PoisonError};

use mesh_core::balance::{Balancer, EndpointSet, EndpointState, Place, Plan};
use mesh_core::breaker::Breaker;
use mesh_core::ceiling::Ceilings;
use mesh_core::ejection::Detector;
use mesh_core::hedge::Hedger;
use mesh_core::overload::throttle::Throttle;
use mesh_core::policy::model::{Backend, Discovery};
use mesh_core::telemetry::names;
use tokio::sync::watch;

use super::Endpoint;
use crate::ejection::Outliers;
use crate::stack::Seam;
use crate::telemetry::Recorder;
use crate::transport::Room;

/// What survives policy and discovery changes for a backend.
pub(crate) struct BackendState {
    ceilings: Ceilings,
    /// What the pools of all endpoints share of the ceilings.
    room: Room,
    detector: Arc<Detector>,
    /// Only locked when a view is made.
    optional: Mutex<Optional>,
    /// Seam A: the stack that makes attempts.
    logical: Seam,
    /// The newest view of this backend: for calls that wait for an endpoint, and for retries.
    latest: watch::Sender<Option<Arc<BackendView>>>,
}

/// What a backend has only if its policy says so. It goes on as it was while the policy has it.
#[derive(Clone, Default)]
struct Optional {
    breaker: Option<Arc<Breaker>>,
    throttle: Option<Arc<Throttle>>,
    hedger: Option<Arc<Hedger>>,
}

/// A backend as one view has it: its policy, its endpoints, and how to pick one.
pub(crate) struct BackendView {
    policy: Arc<Backend>,
    state: Arc<BackendState>,
    set: EndpointSet,
    /// Same positions as in `set`.
    endpoints: Vec<Arc<Endpoint>>,
    balancer: Arc<Balancer>,
    /// Where the balancer takes this process to be.
    place: Arc<Place>,
    outliers: Arc<Outliers>,
    optional: Optional,
    /// Discovery has answered at least once.
    discovered: bool,
    service: Arc<str>,
    recorder: Recorder,
}

// === impl BackendState ===

impl BackendState {
    pub(crate) fn new(policy: &Backend, logical: Seam, recorder: &Recorder) -> Self {
        let ceilings = Ceilings::new(policy.ceilings());
        let room = Room::new(
            ceilings.connections.clone(),
            ceilings.pending.clone(),
            &policy.service().to_string(),
            recorder,
        );
        Self {
            ceilings,
            room,
            detector: Arc::new(Detector::new()),
            optional: Mutex::default(),
            logical,
            latest: watch::Sender::new(None),
        }
    }

    pub(crate) fn ceilings(&self) -> &Ceilings {
        &self.ceilings
    }

    /// Applies changed ceilings; what is counted stays counted.
    pub(super) fn update(&self, policy: &Backend) {
        self.ceilings.update(policy.ceilings());
        self.room.changed();
    }

    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    pub(crate) fn logical(&self) -> &Seam {
        &self.logical
    }

    pub(crate) fn latest(&self) -> &watch::Sender<Option<Arc<BackendView>>> {
        &self.latest
    }
}

// === impl Optional ===

impl Optional {
    fn update(&mut self, policy: &Backend) {
        fn keep<T, P>(
            slot: &mut Option<Arc<T>>,
            policy: Option<&P>,
            new: impl Fn(&P) -> T,
            update: impl Fn(&T, &P),
        ) {
            match (policy, &*slot) {
                (Some(policy), Some(one)) => update(one, policy),
                (Some(policy), None) => *slot = Some(Arc::new(new(policy))),
                (None, _) => *slot = None,
            }
        }
        keep(
            &mut self.breaker,
            policy.breaker(),
            Breaker::new,
            Breaker::update,
        );
        keep(
            &mut self.throttle,
            policy.throttle(),
            Throttle::new,
            Throttle::update,
        );
        keep(
            &mut self.hedger,
            policy.hedge(),
            Hedger::new,
            Hedger::update,
        );
    }
}

// === impl BackendView ===

impl BackendView {
    #[expect(
        clippy::too_many_arguments,
        reason = "one caller, which has all of them at hand"
    )]
    pub(super) fn new(
        policy: Arc<Backend>,
        state: Arc<BackendState>,
        set: EndpointSet,
        endpoints: Vec<Arc<Endpoint>>,
        previous: Option<&Arc<BackendView>>,
        discovered: bool,
        place: &Arc<Place>,
        recorder: &Recorder,
    ) -> Self {
        let service: Arc<str> = match previous {
            Some(previous) => previous.service.clone(),
            None => policy.service().to_string().into(),
        };
        let plan = Plan {
            balance: policy.balance(),
            locality: policy.locality(),
            place,
        };
        let balancer = match previous {
            Some(previous) if previous.balances_by(&plan, &set) => previous.balancer.clone(),
            _ => {
                let before = previous.map(|previous| &*previous.balancer);
                let now = crate::runtime::now();
                Arc::new(Balancer::prepared(&plan, &set, before, now))
            }
        };
        let outliers = Arc::new(Outliers::with(
            *policy.ejection(),
            set.clone(),
            state.detector.clone(),
            service.clone(),
            recorder.clone(),
        ));
        let optional = {
            let mut optional = state
                .optional
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            optional.update(&policy);
            optional.clone()
        };
        Self {
            policy,
            state,
            set,
            endpoints,
            balancer,
            place: place.clone(),
            outliers,
            optional,
            discovered,
            service,
            recorder: recorder.clone(),
        }
    }

    /// The view that is in force now, for calls that may leave the one they have pinned.
    pub(crate) fn newest(self: &Arc<Self>) -> Arc<Self> {
        self.state
            .latest
            .borrow()
            .clone()
            .unwrap_or_else(|| self.clone())
    }

    /// Counts something rare under this backend's service.
    pub(crate) fn count(&self, name: &'static str, reason: &str) {
        let labels = [(names::SERVICE, &*self.service), (names::REASON, reason)];
        let labels = if reason.is_empty() {
            &labels[..1]
        } else {
            &labels[..]
        };
        self.recorder.counter(name, labels).increment(1);
    }

    /// Why there is no endpoint, for an error's text.
    pub(crate) fn why_empty(&self) -> String {
        let source = match self.policy.discovery() {
            Discovery::Static(_) => "its fixed list".to_owned(),
            Discovery::Dns { host, .. } => format!("DNS for {host}"),
            Discovery::External { host, .. } => format!("DNS for {host}"),
            Discovery::Registered(service) => format!("the registry of {service}"),
        };
        let subset = match self.policy.subset() {
            labels if labels.is_empty() => String::new(),
            labels => {
                let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
                format!(" with labels {}", labels.join(","))
            }
        };
        if self.discovered {
            format!("{source} has no endpoint{subset}")
        } else {
            format!("{source} has not answered yet")
        }
    }

    /// The name of its service, as metrics have it.
    pub(crate) fn service(&self) -> &Arc<str> {
        &self.service
    }

    pub(crate) fn policy(&self) -> &Arc<Backend> {
        &self.policy
    }

    pub(crate) fn state(&self) -> &Arc<BackendState> {
        &self.state
    }

    pub(crate) fn set(&self) -> &EndpointSet {
        &self.set
    }

    pub(crate) fn balancer(&self) -> &Arc<Balancer> {
        &self.balancer
    }

    /// Where this process stands among the callers.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether its balancer is the one for all this.
    fn balances_by(&self, plan: &Plan<'_>, set: &EndpointSet) -> bool {
        self.policy.balance() == plan.balance
            && self.policy.locality() == plan.locality
            && *self.place == *plan.place
            && Arc::ptr_eq(self.set.endpoints(), set.endpoints())
    }

    pub(crate) fn outliers(&self) -> &Arc<Outliers> {
        &self.outliers
    }

    pub(crate) fn breaker(&self) -> Option<&Arc<Breaker>> {
        self.optional.breaker.as_ref()
    }

    pub(crate) fn throttle(&self) -> Option<&Arc<Throttle>> {
        self.optional.throttle.as_ref()
    }

    pub(crate) fn hedger(&self) -> Option<&Arc<Hedger>> {
        self.optional.hedger.as_ref()
    }

    pub(crate) fn is_discovered(&self) -> bool {
        self.discovered
    }

    pub(crate) fn endpoint(&self, ix: usize) -> Option<&Arc<Endpoint>> {
        self.endpoints.get(ix)
    }

    pub(crate) fn endpoints(&self) -> impl Iterator<Item = (&Arc<EndpointState>, &Arc<Endpoint>)> {
        self.set.iter().zip(&self.endpoints)
    }

    /// The position of an endpoint by its id; only for what is rare.
    pub(crate) fn position(&self, id: super::EndpointId) -> Option<usize> {
        self.endpoints
            .iter()
            .position(|endpoint| endpoint.id() == id)
    }

    /// Whether both hold the same endpoints under the same policy, so that one can stand for the
    /// other.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.policy, &other.policy)
            && Arc::ptr_eq(&self.balancer, &other.balancer)
            && self.discovered == other.discovered
            && self.endpoints.len() == other.endpoints.len()
            && self
                .endpoints
                .iter()
                .zip(&other.endpoints)
                .all(|(a, b)| Arc::ptr_eq(a, b))
            && self
                .set
                .iter()
                .zip(other.set.iter())
                .all(|(a, b)| a.info() == b.info())
    }
}
