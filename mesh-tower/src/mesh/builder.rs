use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use mesh_core::balance::EndpointInfo;
use mesh_core::error::{Code, ErrorKind, MeshError};
use mesh_core::name::ServiceName;
use mesh_core::policy::spec::Resource;
use mesh_core::policy::{Layer, Store};
use mesh_core::policy::{Options, Source};
use tower_service::Service;

use super::file::FileSource;
use super::handle::{Inner, Mesh};
use super::shared::SeamLayer;
use super::{Shared, UserLayers};
use crate::BoxError;
use crate::body::MeshBody;
use crate::client::logical_stack;
use crate::drain::Drain;
use crate::live_view::{Connector, Reconciler, Settings};
use crate::mirror::Mirrors;
use crate::runtime::Tasks;
use crate::stack::Seam;
use crate::telemetry::{Recorder, Tracing};
use crate::tls::Credentials;
use crate::transport::{Connect, TcpConnect};

/// Builds a [`Mesh`]. Every setting has a default; mistakes are reported by [`MeshBuilder::build`].
#[must_use = "a builder does nothing until build()"]
pub struct MeshBuilder {
    service: String,
    namespace: String,
    file: Option<PathBuf>,
    texts: Vec<Source>,
    resources: Vec<Arc<Resource>>,
    endpoints: Vec<(String, Vec<EndpointInfo>)>,
    credentials: Credentials,
    connector: Arc<dyn Connect>,
    metrics: bool,
    metrics_label: Option<(String, String)>,
    tracing: Option<Tracing>,
    workers: usize,
    settings: Settings,
    zone: Option<Arc<str>>,
    seed: Option<u64>,
    layers: UserLayers,
    origin: &'static std::panic::Location<'static>,
}

// === impl MeshBuilder ===

impl MeshBuilder {
    #[track_caller]
    pub(crate) fn new(service: &str) -> Self {
        Self {
            service: service.to_owned(),
            namespace: "default".to_owned(),
            file: None,
            texts: Vec::new(),
            resources: Vec::new(),
            endpoints: Vec::new(),
            credentials: Credentials::new(),
            connector: Arc::new(TcpConnect::new()),
            metrics: true,
            metrics_label: None,
            tracing: None,
            workers: 1,
            settings: Settings::default(),
            zone: None,
            seed: None,
            layers: UserLayers::default(),
            origin: std::panic::Location::caller(),
        }
    }

    /// The namespace of this service, and of every service that is named without one.
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = namespace.to_owned();
        self
    }

    /// A policy file. It is read now, and again when its content changes (looked at once a
    /// second); a changed file that is not valid is reported and the last good policy stays.
    pub fn policy_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Policy text in the application's code, in the long or the short form.
    #[track_caller]
    pub fn policy_text(mut self, text: &str) -> Self {
        let at = std::panic::Location::caller();
        let name = format!("{}:{}", at.file(), at.line());
        self.texts.push(Source::new(name, text));
        self
    }

    /// Policy resources in the application's code.
    pub fn resources(mut self, resources: impl IntoIterator<Item = Arc<Resource>>) -> Self {
        self.resources.extend(resources);
        self
    }

    /// Fixed addresses of a service that no policy has to define.
    pub fn endpoints(self, service: &str, addrs: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.endpoint_infos(service, addrs.into_iter().map(EndpointInfo::new))
    }

    /// Fixed endpoints of a service that no policy has to define, with labels or identities.
    pub fn endpoint_infos(
        mut self,
        service: &str,
        endpoints: impl IntoIterator<Item = EndpointInfo>,
    ) -> Self {
        self.endpoints
            .push((service.to_owned(), endpoints.into_iter().collect()));
        self
    }

    /// The identity and the trust roots; they may be empty now and be set later.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// How connections are made: TCP unless a test or a simulation says otherwise.
    pub fn connector(mut self, connector: Arc<dyn Connect>) -> Self {
        self.connector = connector;
        self
    }

    /// Whether metrics are kept. On by default; a library process opens no port for them.
    pub fn metrics(mut self, metrics: bool) -> Self {
        self.metrics = metrics;
        self
    }

    /// A label on every series of this mesh, for a process that has several: their
    /// [merged](crate::telemetry::merge) text tells them apart by it.
    pub fn metrics_label(mut self, label: &str, value: &str) -> Self {
        self.metrics_label = Some((label.to_owned(), value.to_owned()));
        self
    }

    /// Where finished spans go; as the `OTEL_*` environment says unless told here.
    pub fn tracing(mut self, tracing: Tracing) -> Self {
        self.tracing = Some(tracing);
        self
    }

    /// How many single-threaded runtimes share this mesh (the shim's workers): each has pools of
    /// its own, by [`set_worker_index`](crate::runtime::set_worker_index). 1 in an application.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// The zone that this process runs in: `zone`, `region/zone` or `region/zone/subzone`. Calls stay
    /// in it as far as no endpoint anywhere gets more than its share. None by default.
    pub fn zone(mut self, zone: &str) -> Self {
        self.zone = (!zone.is_empty()).then(|| zone.into());
        self
    }

    /// What this process chooses by where processes should choose differently: random subsets and
    /// apertures. Random by default; a number that outlives a restart keeps the choice.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The deadline of a call whose route and caller say nothing. 15 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.deadline = timeout;
        self
    }

    /// How long a call waits for a first policy or a first endpoint, within its deadline. 5 s by
    /// default.
    pub fn endpoint_wait(mut self, wait: Duration) -> Self {
        self.settings.wait = wait;
        self
    }

    /// Whether calls to services that no policy names wait for a feed, as they do once
    /// [`Mesh::feed`] was taken. Off by default: they fail at once.
    pub fn expect_feed(mut self, expected: bool) -> Self {
        self.settings.expect_feed = expected;
        self
    }

    /// A tower layer that sees every call once, above retries (seam A).
    pub fn layer_logical<L>(mut self, layer: L) -> Self
    where
        L: tower_layer::Layer<Seam> + Send + Sync + 'static,
        L::Service: Service<Request<MeshBody>, Response = Response<MeshBody>>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as Service<Request<MeshBody>>>::Error: Into<BoxError>,
        <L::Service as Service<Request<MeshBody>>>::Future: Send + 'static,
    {
        self.layers.logical.push(erase(layer));
        self
    }

    /// A tower layer that sees every attempt, before an endpoint is picked (seam B).
    pub fn layer_attempt<L>(mut self, layer: L) -> Self
    where
        L: tower_layer::Layer<Seam> + Send + Sync + 'static,
        L::Service: Service<Request<MeshBody>, Response = Response<MeshBody>>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as Service<Request<MeshBody>>>::Error: Into<BoxError>,
        <L::Service as Service<Request<MeshBody>>>::Future: Send + 'static,
    {
        self.layers.attempt.push(erase(layer));
        self
    }

    /// A tower layer around the connections of one endpoint (seam C).
    pub fn layer_endpoint<L>(mut self, layer: L) -> Self
    where
        L: tower_layer::Layer<Seam> + Send + Sync + 'static,
        L::Service: Service<Request<MeshBody>, Response = Response<MeshBody>>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as Service<Request<MeshBody>>>::Error: Into<BoxError>,
        <L::Service as Service<Request<MeshBody>>>::Future: Send + 'static,
    {
        self.layers.endpoint.push(erase(layer));
        self
    }

    /// Checks everything, reads the policy file and starts the mesh's tasks. Must be called inside
    /// a tokio runtime.
    pub fn build(self) -> Result<Mesh, MeshError> {
        if tokio::runtime::Handle::try_current().is_err() {
            let message = format!(
                "the mesh of {} must be built inside a tokio runtime",
                self.origin
            );
            return Err(MeshError::new(ErrorKind::Internal, message));
        }
        let service = parse(&self.service, &self.namespace)?;
        let store = Store::new(Options::partial());
        let shared = Arc::new(Shared::new());
        shared.set_place(|place| {
            place.zone = self.zone.clone();
            place.seed = self.seed.unwrap_or_else(|| fastrand::u64(..));
        });
        let tasks = Tasks::default();

        let mut resources = self.resources;
        if !self.texts.is_empty() {
            resources.extend(super::file::parse_all(&self.texts)?);
        }
        if !resources.is_empty() {
            store
                .apply(Layer::Code, resources)
                .map_err(|errors| MeshError::new(ErrorKind::Policy, errors.render(&self.texts)))?;
        }
        for (name, endpoints) in self.endpoints {
            let name = parse(&name, &self.namespace)?;
            shared.push(&name, Some(endpoints));
            shared.ask(&name);
        }
        if let Some(path) = self.file {
            let file = FileSource::load(path, &store)?;
            tasks.spawn(file.watch(store.clone()));
        }
        let tracing = match self.tracing {
            Some(tracing) => tracing,
            None => Tracing::from_env(&service.to_string()).map_err(|error| {
                let message = format!("the OTEL_* environment cannot be used: {error}");
                MeshError::new(ErrorKind::Policy, message).with_code(Code::BAD_CONFIGURATION)
            })?,
        };
        let recorder = match (self.metrics, &self.metrics_label) {
            (false, _) => Recorder::disabled(),
            (true, None) => Recorder::new(),
            (true, Some((label, value))) => Recorder::labelled(label, value),
        };
        let recorder = recorder.with_tracing(tracing);
        let probe = logical_stack(&self.layers, self.settings.wait, recorder.tracing());
        let views = Reconciler::start(
            &tasks,
            shared.clone(),
            store.clone(),
            Connector::new(
                self.connector.clone(),
                self.credentials.clone(),
                self.workers,
            ),
            recorder.clone(),
            Arc::new(self.layers),
            self.settings.clone(),
        );
        if recorder.is_enabled() {
            let recorder = recorder.clone();
            tasks.spawn(async move {
                let _upkeep = recorder.spawn_upkeep();
                std::future::pending::<()>().await;
            });
        }
        Ok(Mesh::from_inner(Inner {
            source: service.to_string().into(),
            mirrors: Arc::new(Mirrors::new(recorder.clone())),
            service,
            namespace: self.namespace,
            store,
            credentials: self.credentials,
            connector: self.connector,
            drain: Drain::new(),
            recorder,
            views,
            shared,
            settings: self.settings,
            reporters: Default::default(),
            inbound: Default::default(),
            ingress: Default::default(),
            probe,
            tasks,
        }))
    }
}

impl std::fmt::Debug for MeshBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MeshBuilder")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

fn parse(name: &str, namespace: &str) -> Result<ServiceName, MeshError> {
    ServiceName::parse(name, namespace).map_err(|error| {
        MeshError::new(
            ErrorKind::Policy,
            format!("{name:?} is not a service name: {error}"),
        )
    })
}

fn erase<L>(layer: L) -> SeamLayer
where
    L: tower_layer::Layer<Seam> + Send + Sync + 'static,
    L::Service:
        Service<Request<MeshBody>, Response = Response<MeshBody>> + Clone + Send + Sync + 'static,
    <L::Service as Service<Request<MeshBody>>>::Error: Into<BoxError>,
    <L::Service as Service<Request<MeshBody>>>::Future: Send + 'static,
{
    Arc::new(move |inner| Seam::new(layer.layer(inner)))
}
