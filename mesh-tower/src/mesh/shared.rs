//! State that clients, the feed and the reconciler share.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Request, Response};
use mesh_core::balance::{EndpointInfo, Place};
use mesh_core::error::MeshError;
use mesh_core::name::ServiceName;
use tokio::sync::{Notify, watch};

use crate::body::MeshBody;
use crate::context::CallContext;
use crate::stack::{BoxFuture, Describe, DynService, Seam};
use crate::transport::ConnInfo;

/// The endpoints of one service as somebody pushed them; `None` until the first push.
pub(crate) type Pushed = watch::Receiver<Option<Arc<[EndpointInfo]>>>;

/// A user's layer: wraps a seam and gives a seam.
pub(crate) type SeamLayer = Arc<dyn Fn(Seam) -> Seam + Send + Sync>;

/// The user's layers at each seam, in the order in which they were given (the first is outermost).
#[derive(Clone, Default)]
pub(crate) struct UserLayers {
    pub(crate) logical: Vec<SeamLayer>,
    pub(crate) attempt: Vec<SeamLayer>,
    pub(crate) endpoint: Vec<SeamLayer>,
}

/// What wakes the reconciler, and what it reads besides the store.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Somebody changed something: the reconciler builds the next view.
    pub(crate) changed: Notify,
    wanted: watch::Sender<Arc<BTreeSet<ServiceName>>>,
    serving: watch::Sender<Vec<super::Serving>>,
    /// A control plane feeds this mesh: an unknown service is worth waiting for.
    fed: AtomicBool,
    connected: watch::Sender<bool>,
    ready: watch::Sender<bool>,
    /// Another process goes on at the addresses of this one.
    handed_over: AtomicBool,
}

#[derive(Default)]
struct State {
    asked: BTreeSet<ServiceName>,
    unknown: HashSet<ServiceName>,
    place: Arc<Place>,
    pushed: HashMap<ServiceName, watch::Sender<Option<Arc<[EndpointInfo]>>>>,
}

/// Above the user's layers, which may take their time.
struct Above(Seam);

/// Below them.
struct Below(Seam);

// === impl Above ===

impl DynService for Above {
    fn call(
        &self,
        mut request: Request<MeshBody>,
    ) -> BoxFuture<Result<Response<MeshBody>, MeshError>> {
        let call = CallContext::expose(&mut request);
        let answer = self.0.call_ref(request);
        Box::pin(async move {
            let answer = answer.await;
            if let Some(call) = call {
                call.tick();
            }
            answer
        })
    }

    fn describe(&self, into: &mut Vec<&'static str>) {
        Describe::describe(&self.0, into);
    }
}

// === impl Below ===

impl DynService for Below {
    fn call(
        &self,
        mut request: Request<MeshBody>,
    ) -> BoxFuture<Result<Response<MeshBody>, MeshError>> {
        if let Some(call) = CallContext::conceal(&mut request) {
            call.tick();
        }
        let answer = self.0.call_ref(request);
        Box::pin(async move {
            let mut answer = answer.await;
            if let Ok(response) = &mut answer {
                ConnInfo::expose(response);
            }
            answer
        })
    }

    fn describe(&self, into: &mut Vec<&'static str>) {
        Describe::describe(&self.0, into);
    }
}

// === impl UserLayers ===

impl UserLayers {
    /// The seam with the user's layers. Around them the call's context is an extension, which
    /// survives a layer that replaces the body.
    pub(crate) fn apply(layers: &[SeamLayer], seam: Seam) -> Seam {
        if layers.is_empty() {
            return seam;
        }
        let below = Seam::from_dyn(Arc::new(Below(seam)));
        let layered = layers.iter().rev().fold(below, |seam, layer| layer(seam));
        Seam::from_dyn(Arc::new(Above(layered)))
    }
}

// === impl Shared ===

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            wanted: watch::Sender::new(Arc::default()),
            serving: watch::Sender::new(Vec::new()),
            fed: AtomicBool::new(false),
            connected: watch::Sender::new(false),
            ready: watch::Sender::new(true),
            handed_over: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client asks for a service: from now on it is in `wanted`.
    pub(crate) fn ask(&self, service: &ServiceName) {
        let new = self.state().asked.insert(service.clone());
        if new {
            self.wanted.send_if_modified(|wanted| {
                if wanted.contains(service) {
                    return false;
                }
                Arc::make_mut(wanted).insert(service.clone());
                true
            });
            self.changed.notify_one();
        }
    }

    pub(crate) fn asked(&self) -> BTreeSet<ServiceName> {
        self.state().asked.clone()
    }

    /// Where this process stands among the callers.
    pub(crate) fn place(&self) -> Arc<Place> {
        self.state().place.clone()
    }

    /// Changes where it stands.
    pub(crate) fn set_place(&self, change: impl FnOnce(&mut Place)) {
        let mut state = self.state();
        let mut place = (*state.place).clone();
        change(&mut place);
        if place == *state.place {
            return;
        }
        state.place = Arc::new(place);
        drop(state);
        self.changed.notify_one();
    }

    /// Services that the control plane says do not exist.
    pub(crate) fn unknown(&self) -> HashSet<ServiceName> {
        self.state().unknown.clone()
    }

    pub(crate) fn set_unknown(&self, service: &ServiceName) {
        self.state().unknown.insert(service.clone());
        self.changed.notify_one();
    }

    pub(crate) fn set_known<'a>(&self, services: impl IntoIterator<Item = &'a ServiceName>) {
        let mut state = self.state();
        if state.unknown.is_empty() {
            return;
        }
        for service in services {
            state.unknown.remove(service);
        }
    }

    /// Sets the endpoints of a service. `None` means that nobody knows any more, which keeps what
    /// is there.
    pub(crate) fn push(&self, service: &ServiceName, endpoints: Option<Vec<EndpointInfo>>) {
        let mut state = self.state();
        state.unknown.remove(service);
        state
            .pushed
            .entry(service.clone())
            .or_insert_with(|| watch::Sender::new(None))
            .send_replace(endpoints.map(Arc::from));
        drop(state);
        self.changed.notify_one();
    }

    pub(crate) fn pushed(&self, service: &ServiceName) -> Pushed {
        self.state()
            .pushed
            .entry(service.clone())
            .or_insert_with(|| watch::Sender::new(None))
            .subscribe()
    }

    pub(crate) fn publish_wanted(&self, next: BTreeSet<ServiceName>) {
        self.wanted.send_if_modified(|wanted| {
            if **wanted == next {
                return false;
            }
            *wanted = Arc::new(next);
            true
        });
    }

    pub(crate) fn wanted(&self) -> watch::Receiver<Arc<BTreeSet<ServiceName>>> {
        self.wanted.subscribe()
    }

    pub(crate) fn serving(&self) -> &watch::Sender<Vec<super::Serving>> {
        &self.serving
    }

    pub(crate) fn connected(&self) -> &watch::Sender<bool> {
        &self.connected
    }

    pub(crate) fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    pub(crate) fn ready(&self) -> &watch::Sender<bool> {
        &self.ready
    }

    pub(crate) fn hand_over(&self) {
        self.handed_over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_handed_over(&self) -> bool {
        self.handed_over.load(Ordering::Relaxed)
    }

    pub(crate) fn set_fed(&self) {
        if !self.fed.swap(true, Ordering::Relaxed) {
            self.changed.notify_one();
        }
    }

    pub(crate) fn is_fed(&self) -> bool {
        self.fed.load(Ordering::Relaxed)
    }
}
