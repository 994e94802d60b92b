use std::{net::SocketAddr, time::Duration};

use http::{Request, Response};
use mesh_core::{
    error::{Code, ErrorKind, MeshError},
    policy::ConcurrencyPolicy,
};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    Limits, TlsChoice,
    scope::Erase,
    stack::{Own, Parts},
};
use crate::{
    BoxError,
    body::MeshBody,
    load_report::LoadReports,
    mesh::Mesh,
    stack::{Describe, SERVER_ORDER, Seam},
    transport::{Accept, TcpAccept},
};

type UserLayer = Box<dyn FnOnce(Seam) -> Seam + Send>;

/// Builds a server: where it listens, how it is secured, what it bears, which service it runs.
#[must_use = "a builder does nothing until serve()"]
pub struct ServerBuilder {
    pub(super) mesh: Mesh,
    pub(super) listener: Option<Box<dyn Accept>>,
    pub(super) choice: TlsChoice,
    pub(super) limits: Limits,
    pub(super) timeout: Option<Duration>,
    pub(super) concurrency: Option<ConcurrencyPolicy>,
    pub(super) announce: bool,
    pub(super) forwarded: bool,
    pub(super) reports: LoadReports,
    pub(super) layers: Vec<UserLayer>,
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

    pub(super) fn own(&self) -> Own {
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
