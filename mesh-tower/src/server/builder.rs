use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use mesh_core::{
    error::{Code, ErrorKind, MeshError},
    live::Live,
    policy::{ConcurrencyPolicy, model::ConcurrencyAlgorithm},
    telemetry::names,
};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    Limits, ServerHandle, TlsChoice, accept,
    admit::Form,
    connection::{Handshakes, Shared},
    dispatch::Answers,
    handle,
    ingress::{Edge, Entrance, Ingress, ToHttps},
    scope::Erase,
    signal::Signal,
    stack::{Own, Parts},
};
use crate::{
    BoxError,
    body::MeshBody,
    load_report::LoadReports,
    mesh::{Mesh, Serving},
    report::InboundStats,
    stack::{Describe, SERVER_ORDER, Seam},
    tcp::Application,
    tls::ServerTls,
    transport::{Accept, TcpAccept},
};

type UserLayer = Box<dyn FnOnce(Seam) -> Seam + Send>;

/// Builds a server: where it listens, how it is secured, what it bears, which service it runs.
#[must_use = "a builder does nothing until serve()"]
pub struct ServerBuilder {
    mesh: Mesh,
    listener: Option<Box<dyn Accept>>,
    choice: TlsChoice,
    limits: Limits,
    timeout: Option<Duration>,
    concurrency: Option<ConcurrencyPolicy>,
    announce: bool,
    forwarded: bool,
    reports: LoadReports,
    layers: Vec<UserLayer>,
}

// === impl ServerBuilder ===

impl ServerBuilder {
    pub(super) fn new(mesh: Mesh) -> Self {
        Self {
            mesh,
            listener: None,
            choice: TlsChoice::default(),
            limits: Limits::default(),
            timeout: None,
            concurrency: None,
            announce: true,
            forwarded: false,
            reports: LoadReports::new(),
            layers: Vec::new(),
        }
    }

    /// Listens on a TCP address: `"0.0.0.0:8080"`, or port 0 for any free one.
    ///
    /// # Errors
    /// M1003 if the address cannot be read, M1004 if the port is taken.
    pub fn bind(mut self, addr: &str) -> Result<Self, MeshError> {
        let parsed: SocketAddr = addr.parse().map_err(|_| {
            let what = format!("{addr:?} is not an address to listen on, such as 0.0.0.0:8080");
            MeshError::new(ErrorKind::Internal, what).with_code(Code::BAD_CONFIGURATION)
        })?;
        let listener = TcpAccept::bind(parsed).map_err(|error| {
            let taken = error.kind() == std::io::ErrorKind::AddrInUse;
            let code = if taken {
                Code::PORT_IN_USE
            } else {
                Code::BAD_CONFIGURATION
            };
            let what = format!("cannot listen on {addr}: {error}");
            MeshError::new(ErrorKind::Internal, what)
                .with_code(code)
                .with_source(error)
        })?;
        self.listener = Some(Box::new(listener));
        Ok(self)
    }

    /// Takes connections from anything that yields them: a Unix socket, a simulated network.
    pub fn accept(mut self, listener: impl Accept) -> Self {
        self.listener = Some(Box::new(listener));
        self
    }

    /// The address that it is bound to, before anything is served.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listener
            .as_ref()
            .and_then(|listener| listener.local_addr().ok())
    }

    /// How connections are secured; as the policy says unless told otherwise.
    pub fn tls(mut self, choice: TlsChoice) -> Self {
        self.choice = choice;
        self
    }

    /// What the server bears from its peers.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How long the service may take until the head of its answer. Unbounded by default: the
    /// callers' deadlines bound it. A `TrafficPolicy` with a timeout is above this.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How many requests this server works on at a time, in place of what the other servers of this
    /// process share. A `TrafficPolicy` with `concurrency` is above this.
    ///
    /// The default (Gradient2) suits whatever answers as soon as it can. Switch it off where calls
    /// wait for events, as in a long poll: their latency says nothing of the load.
    pub fn concurrency(mut self, policy: ConcurrencyPolicy) -> Self {
        self.concurrency = Some(policy);
        self
    }

    /// Whether the address is announced to the registry as an instance of this mesh's service.
    /// On by default; off for admin, metrics and proxy listeners.
    pub fn announce(mut self, announce: bool) -> Self {
        self.announce = announce;
        self
    }

    /// Whether the service is told what is known of the sender: an element is added to `Forwarded`,
    /// `X-Forwarded-For` and `Via`, and `X-Forwarded-Proto` and `-Host` are set where nobody has. Off
    /// by default.
    ///
    /// What the sender says of those before it is believed, and goes on, only where it has proved who
    /// it is by mutual TLS; else it is removed. That holds either way.
    pub fn forwarded(mut self, forwarded: bool) -> Self {
        self.forwarded = forwarded;
        self
    }

    /// What callers are told of this server's load, and who is told: those who ask, by default.
    /// Servers that share a handle report one load.
    pub fn load_reports(mut self, reports: LoadReports) -> Self {
        self.reports = reports;
        self
    }

    /// A tower layer of the user, between the mesh's stack and the service. The first one given is
    /// the outermost.
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Seam> + Send + 'static,
        L::Service: Service<Request<MeshBody>, Response = Response<MeshBody>>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as Service<Request<MeshBody>>>::Error: Into<BoxError>,
        <L::Service as Service<Request<MeshBody>>>::Future: Send + 'static,
    {
        self.layers
            .push(Box::new(move |inner| Seam::new(layer.layer(inner))));
        self
    }

    fn own(&self) -> Own {
        Own {
            requests: self.limits.requests,
            timeout: self.timeout,
            concurrency: self.concurrency,
            outside: false,
        }
    }

    /// The layers that a server built from this has, outermost first.
    pub fn describe(&self) -> Vec<&'static str> {
        let seam = Seam::new(Erase::new(tower::service_fn(
            async |_: Request<MeshBody>| Ok::<_, BoxError>(Response::new(MeshBody::empty())),
        )));
        let parts = Parts::new(&self.mesh, &self.own());
        let mut names = vec!["accept", "tls", "http"];
        parts.wrap(seam).describe(&mut names);
        debug_assert_eq!(names, crate::stack::names(SERVER_ORDER));
        names
    }

    /// Starts to serve on the current runtime. It ends with the mesh's drain, with
    /// [`ServerHandle::shutdown`], or at once when the handle is dropped.
    ///
    /// # Errors
    /// M1003 without a listener.
    pub fn serve<S, R>(mut self, service: S) -> Result<ServerHandle, MeshError>
    where
        S: Service<Request<MeshBody>, Response = Response<R>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let parts = Parts::new(&self.mesh, &self.own()).reporting(self.reports.clone());
        let seam = Seam::new(Erase::new(service));
        let seam = std::mem::take(&mut self.layers)
            .into_iter()
            .rev()
            .fold(seam, |seam, layer| layer(seam));
        let stack = parts.wrap(seam);
        self.start(stack, Form::Origin, parts.stats, None, None)
    }

    /// Starts to take connections of bytes and carries them to `app`, on the current runtime: mutual
    /// TLS (ALPN `mesh-tcp/1`) and the access policy as for requests, of which rules that name
    /// methods, paths or gRPC methods allow nothing. Layers, limits of requests and what a policy
    /// says of them do not apply. It ends as [`ServerBuilder::serve`] does.
    ///
    /// # Errors
    /// M1003 without a listener.
    pub fn serve_tcp(self, app: SocketAddr) -> Result<ServerHandle, MeshError> {
        let app = Arc::new(Application {
            addr: app,
            connect: self.mesh.connector().clone(),
            recorder: self.mesh.recorder().clone(),
            service: self.mesh.service_name().to_string().into(),
        });
        let nothing = tower::service_fn(async |_: Request<MeshBody>| {
            Ok::<_, Infallible>(Response::new(MeshBody::empty()))
        });
        let parts = Parts::new(&self.mesh, &self.own());
        self.start(nothing, Form::Origin, parts.stats, Some(app), None)
    }

    /// Serves what the application itself asks, in plaintext, as a forward proxy or a local port of
    /// one: targets keep their authority and CONNECT reaches the service. The checks of HTTP, the
    /// limits of a connection and its timeouts are those of a server; nothing else is between a
    /// request and `service`, which always answers: whom it calls has the stack that counts, bounds
    /// and retries.
    ///
    /// It does not end with the mesh's drain, in which the application still finishes its work and
    /// calls others for it, but with [`ServerHandle::shutdown`]. It is never announced.
    ///
    /// # Errors
    /// M1003 without a listener.
    pub fn forward_proxy<S>(mut self, service: S) -> Result<ServerHandle, MeshError>
    where
        S: Service<Request<MeshBody>, Response = Response<MeshBody>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.choice = TlsChoice::Disabled;
        self.announce = false;
        let stats = InboundStats::new(self.mesh.recorder());
        self.start(service, Form::Proxy, stats, None, None)
    }

    /// Serves clients outside the mesh, who have no identity: what the routes of the policy whose
    /// parent is this mesh's service name is sent where they say, and nothing else. How that is kept
    /// apart from the mesh is told at [`Ingress`]; limits, `TrafficPolicy`, metrics, logs and the
    /// drain are those of any server. It is never announced. The user's layers do not apply.
    ///
    /// # Errors
    /// M1003 without a listener.
    pub fn ingress(mut self, ingress: Ingress) -> Result<ServerHandle, MeshError> {
        self.choice = TlsChoice::Disabled;
        self.announce = false;
        self.forwarded = true;
        let off = ConcurrencyPolicy::default().with_algorithm(ConcurrencyAlgorithm::Off);
        let own = Own {
            concurrency: self.concurrency.or(Some(off)),
            outside: true,
            ..self.own()
        };
        let parts = Parts::new(&self.mesh, &own);
        let port = self.local_addr().map_or(0, |addr| addr.port());
        let seam = match ingress.redirects() {
            Some(port) => Seam::new(Erase::new(ToHttps::new(port))),
            None => Seam::new(Erase::new(Entrance::new(&self.mesh, port))),
        };
        let edge = ingress.into_edge(&self.mesh);
        self.start(
            parts.wrap(seam),
            Form::Origin,
            parts.stats,
            None,
            Some(edge),
        )
    }

    fn start<S: Answers>(
        self,
        service: S,
        form: Form,
        stats: InboundStats,
        bytes: Option<Arc<Application>>,
        edge: Option<Edge>,
    ) -> Result<ServerHandle, MeshError> {
        let missing = |what: &str| {
            MeshError::new(ErrorKind::Internal, what).with_code(Code::BAD_CONFIGURATION)
        };
        let mut listener = self
            .listener
            .ok_or_else(|| missing("a server needs bind() or accept()"))?;
        if bytes.is_some() {
            listener.for_bytes();
        }
        let local = listener
            .local_addr()
            .map_err(|error| missing("the listener has no address").with_source(error))?;
        let mesh = self.mesh;
        let recorder = mesh.recorder();
        let direction = match form {
            Form::Origin if edge.is_some() => "ingress",
            Form::Origin => "inbound",
            Form::Proxy => "local",
        };
        let handshakes = |result| {
            let labels = [(names::DIRECTION, direction), (names::RESULT, result)];
            recorder.counter(names::TLS_HANDSHAKES, &labels)
        };
        let service_name = mesh.service_name().to_string();
        let labels = [
            (names::DIRECTION, direction),
            (names::SERVICE, service_name.as_str()),
            (names::STATE, "open"),
        ];
        let refused = [
            (names::SERVICE, service_name.as_str()),
            (names::REASON, "connections"),
        ];
        let (signal, watching) = watch::channel(Signal::default());
        let policy: Live<_> = Live::watched(mesh.store().watch());
        let shared = Arc::new(Shared {
            service: mesh.service_name().clone(),
            policy: policy.clone(),
            stats,
            limits: self.limits,
            form,
            forwarded: self.forwarded,
            choice: self.choice,
            credentials: mesh.credentials().clone(),
            tls: match bytes {
                None => ServerTls::required(mesh.credentials()),
                Some(_) => ServerTls::required(mesh.credentials()).for_bytes(),
            },
            join: ServerTls::optional(mesh.credentials()),
            local,
            signal: watching.clone(),
            open: recorder.gauge(names::CONNECTIONS, &labels),
            tunnels: recorder.gauge(names::TUNNELS, &labels[..2]),
            handshakes: Handshakes {
                ok: handshakes("ok"),
                failed: handshakes("failed"),
            },
            edge,
            bytes,
        });
        shared.say_how_it_is_secured();
        let connections = TaskTracker::new();
        let accepting = tokio::spawn(accept::run(
            listener,
            shared,
            service,
            connections.clone(),
            watching,
            recorder.counter(names::CEILING_REACHED, &refused),
        ));
        let announced = self
            .announce
            .then(|| mesh.announce(Serving::new(local, mesh.service_name().clone())));
        Ok(handle::start(handle::Running {
            local,
            signal,
            accepting,
            connections,
            announced,
            policy,
            drain: mesh.drain().clone(),
            drains: form == Form::Origin,
            credentials: mesh.credentials().clone(),
            gauges: handle::Gauges {
                drain: recorder.gauge(names::DRAIN_STATE, &[]),
                expiry: recorder.gauge(names::CERTIFICATE_EXPIRY, &[]),
            },
        }))
    }
}

impl std::fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("local_addr", &self.local_addr())
            .field("tls", &self.choice)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
