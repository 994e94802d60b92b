//! What a built server does: serves a service, bytes, a forward proxy or an ingress.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

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
use tower_service::Service;

use super::{
    ServerBuilder, ServerHandle, TlsChoice, accept,
    admit::Form,
    connection::{Handshakes, Shared},
    dispatch::Answers,
    handle,
    ingress::{Edge, Entrance, Ingress, Refused},
    scope::Erase,
    signal::Signal,
    stack::{Own, Parts},
};
use crate::{
    BoxError, body::MeshBody, mesh::Serving, report::InboundStats, stack::Seam, tcp::Application,
    tls::ServerTls,
};

impl ServerBuilder {
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
        let refused = Arc::new(Refused::new(&self.mesh));
        let entrance = match ingress.redirects() {
            Some(port) => Entrance::ToHttps(port),
            None => Entrance::routes(&self.mesh, port, refused.clone()),
        };
        let edge = ingress.into_edge(&self.mesh, refused);
        self.start(
            parts.wrap(entrance),
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
