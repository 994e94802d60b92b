use std::sync::{Arc, Mutex, PoisonError};

use mesh_core::name::ServiceName;
use mesh_core::policy::store::Store;
use mesh_core::report::Report;

use super::{Feed, MeshBuilder, Serving, ServingGuard, Shared};
use crate::client::MeshClient;
use crate::drain::Drain;
use crate::live_view::{Settings, ViewReader};
use crate::mirror::Mirrors;
use crate::runtime::Tasks;
use crate::stack::Seam;
use crate::telemetry::Recorder;
use crate::tls::Credentials;
use crate::traffic::Inbound;
use crate::transport::Connect;

/// One process's membership in the mesh. Cloning is one atomic increment.
#[derive(Clone)]
pub struct Mesh {
    inner: Arc<Inner>,
}

/// A [`Mesh`] that does not keep itself alive: for tasks that the mesh owns.
#[derive(Clone)]
pub struct WeakMesh {
    inner: std::sync::Weak<Inner>,
}

/// Adds its part to a report.
type Reporter = Box<dyn Fn(&mut Report) + Send + Sync>;

pub(crate) struct Inner {
    pub(crate) service: ServiceName,
    pub(crate) namespace: String,
    pub(crate) store: Store,
    pub(crate) credentials: Credentials,
    pub(crate) connector: Arc<dyn Connect>,
    pub(crate) drain: Drain,
    pub(crate) recorder: Recorder,
    pub(crate) views: ViewReader,
    pub(crate) shared: Arc<Shared>,
    pub(crate) settings: Settings,
    pub(crate) mirrors: Arc<Mirrors>,
    /// This process to a hash of the caller: its service.
    pub(crate) source: Arc<str>,
    pub(crate) reporters: Mutex<Vec<Reporter>>,
    pub(crate) inbound: Inbound,
    /// The same for callers outside the mesh.
    pub(crate) ingress: Inbound,
    /// What any backend's stack looks like, for `describe`.
    pub(crate) probe: Seam,
    pub(crate) tasks: Tasks,
}

// === impl Mesh ===

impl Mesh {
    /// Starts building the mesh of a service: `"web"`, `"shop/web"` or `"web.shop"`.
    #[track_caller]
    pub fn builder(service: &str) -> MeshBuilder {
        MeshBuilder::new(service)
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    /// A client of one service: `"reviews"`, `"reviews.shop:8080"`. Never fails: a bad name is an
    /// error of the call.
    pub fn client(&self, target: &str) -> MeshClient {
        MeshClient::for_target(&self.inner, target)
    }

    /// A client that finds the service by each request's authority, as a forward proxy does. A
    /// host that is not in the mesh is `NoRoute`.
    pub fn proxy_client(&self) -> MeshClient {
        MeshClient::for_authority(&self.inner)
    }

    /// Where a control-plane client feeds policy and endpoints in.
    pub fn feed(&self) -> Feed {
        Feed::new(self.inner.shared.clone(), self.inner.store.clone())
    }

    /// This process's service.
    pub fn service_name(&self) -> &ServiceName {
        &self.inner.service
    }

    /// The namespace of names that are given without one.
    pub fn default_namespace(&self) -> &str {
        &self.inner.namespace
    }

    /// The identity and the trust roots, which can be replaced while running.
    pub fn credentials(&self) -> &Credentials {
        &self.inner.credentials
    }

    /// The policy in force, by layer.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The drain of this process.
    pub fn drain(&self) -> &Drain {
        &self.inner.drain
    }

    /// Where this mesh's metrics are kept.
    pub fn recorder(&self) -> &Recorder {
        &self.inner.recorder
    }

    /// How this mesh makes connections.
    pub fn connector(&self) -> &Arc<dyn Connect> {
        &self.inner.connector
    }

    /// Whether the feed has delivered what this process needs to serve; see
    /// [`Feed::set_ready`].
    pub fn ready(&self) -> tokio::sync::watch::Receiver<bool> {
        self.inner.shared.ready().subscribe()
    }

    /// Announces that this process serves at an address, until the answer is dropped.
    #[must_use = "dropping it takes the announcement back"]
    pub fn announce(&self, serving: Serving) -> ServingGuard {
        ServingGuard::new(self.inner.shared.clone(), serving)
    }

    /// The 1 s aggregates: what happened since the last call of this function, and how the
    /// endpoints are now.
    pub fn report(&self) -> Report {
        let mut report = Report::default();
        self.inner.views.fill(&mut report);
        let reporters = self
            .inner
            .reporters
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for add in reporters.iter() {
            add(&mut report);
        }
        report
    }

    /// Adds a part to every report: the server's inbound aggregates.
    pub(crate) fn add_reporter(&self, add: impl Fn(&mut Report) + Send + Sync + 'static) {
        self.inner
            .reporters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(add));
    }

    /// What all servers of this mesh share.
    pub(crate) fn inbound(&self) -> &Inbound {
        &self.inner.inbound
    }

    /// What all its servers for callers outside share.
    pub(crate) fn ingress(&self) -> &Inbound {
        &self.inner.ingress
    }

    /// All metrics in Prometheus' text format.
    pub fn metrics_text(&self) -> String {
        super::gauges::refresh(&self.inner);
        self.inner.recorder.render()
    }

    /// The layers of the client stack as built, outermost first.
    pub fn describe_client(&self) -> Vec<&'static str> {
        self.proxy_client().describe()
    }

    /// The same mesh without keeping it alive.
    pub fn downgrade(&self) -> WeakMesh {
        WeakMesh {
            inner: Arc::downgrade(&self.inner),
        }
    }

    /// Runs a task that ends with this mesh: it must not hold a [`Mesh`] itself.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.inner.tasks.spawn(task);
    }

    /// Says that another process goes on at the addresses of this one. From now on nothing is taken
    /// back from the registry: the successor's entries have the same addresses.
    pub fn hand_over(&self) {
        self.inner.shared.hand_over();
    }

    /// Drains: unready, then no new work, then waits for what is in flight and sends the last spans,
    /// for at most 3 s. A program that only calls others may as well drop its mesh: the last one
    /// that is dropped sends them too.
    pub async fn shutdown(&self) {
        self.inner.drain.start();
        self.inner.drain.done().await;
        self.inner.tasks.abort_all();
        self.inner.recorder.tracing().flushed().await;
    }
}

impl std::fmt::Debug for Mesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mesh")
            .field("service", &self.inner.service)
            .finish_non_exhaustive()
    }
}

// === impl WeakMesh ===

impl WeakMesh {
    /// The mesh, unless it is gone.
    pub fn upgrade(&self) -> Option<Mesh> {
        self.inner.upgrade().map(|inner| Mesh { inner })
    }
}

impl std::fmt::Debug for WeakMesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeakMesh").finish_non_exhaustive()
    }
}
