//! Requests of the application on their way into the mesh.

use std::convert::Infallible;
use std::future::Future;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Method, Request, Response, StatusCode};
use mesh_core::error::{ErrorKind, MeshError};
use mesh_tower::body::MeshBody;
use mesh_tower::rescue;
use mesh_tower::route::Hosts;
use mesh_tower::server::ServerHandle;
use mesh_tower::tcp::{Carried, TcpClient, TcpPort};
use mesh_tower::transport::{Accept, TcpAccept};
use mesh_tower::upgrade::Relay;
use mesh_tower::{Mesh, MeshClient};
use pin_project_lite::pin_project;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use super::outside::Outside;
use super::target::{self, BadTarget, Named};
use super::tunnel::{self, Tunnels};
use super::{answer, chain};

/// Sends what arrives on one local listener.
#[derive(Clone)]
pub(crate) struct Outbound {
    client: MeshClient,
    kind: Kind,
}

/// What the forward proxy knows beside the mesh's services.
#[derive(Clone)]
struct Proxy {
    mesh: Mesh,
    hosts: Hosts,
    tunnels: Arc<Tunnels>,
    outside: Arc<Outside>,
    /// The tunnels that are open.
    open: TaskTracker,
}

/// What carries the bytes of a port that the policy, or its flag, makes one of bytes.
pub(crate) struct Bytes {
    pub(crate) client: TcpClient,
    /// Whatever the policy says.
    pub(crate) always: bool,
}

#[derive(Clone)]
enum Kind {
    /// The forward proxy: the request names its target.
    Proxy(Proxy),
    /// An explicit port: everything goes to one service, and is addressed to it.
    Port(Named),
}

type Call = <MeshClient as Service<Request<MeshBody>>>::Future;

pin_project! {
    /// Future of [`Outbound`].
    #[project = ProjectedAnswering]
    pub(crate) enum Answering {
        /// Refused before anything was sent.
        Refused { response: Option<Response<MeshBody>> },
        Calling { #[pin] call: Call, is_grpc: bool, relay: Option<Box<Relay>> },
        Connecting { connect: Pin<Box<dyn Future<Output = Response<MeshBody>> + Send>> },
    }
}

// === impl Outbound ===

impl Outbound {
    /// The forward proxy. Hosts that the policy knows are reached by the engine, and others as `--egress`
    /// says.
    pub(crate) fn proxy(mesh: &Mesh, tunnels: Arc<Tunnels>, open: TaskTracker) -> Self {
        let outside = Arc::new(Outside::new(mesh));
        Self {
            client: mesh.proxy_client(),
            kind: Kind::Proxy(Proxy {
                mesh: mesh.clone(),
                hosts: mesh.hosts(),
                tunnels,
                outside,
                open,
            }),
        }
    }

    /// By the engine.
    fn calling(&mut self, mut request: Request<MeshBody>) -> Answering {
        Answering::Calling {
            relay: Relay::of(&mut request).map(Box::new),
            is_grpc: mesh_core::classify::grpc::is_grpc(request.headers()),
            call: self.client.call(request),
        }
    }

    /// A request for a host that the control server may know, or nobody.
    async fn ask_or_let_out(mut self, request: Request<MeshBody>) -> Response<MeshBody> {
        if let (Kind::Proxy(proxy), Some(authority)) =
            (&mut self.kind, request.uri().authority().cloned())
            && !proxy
                .hosts
                .knows(authority.host(), authority.port_u16())
                .await
        {
            let answer = match proxy.tunnels.unknown(authority.host()) {
                Ok(()) => proxy.outside.call(request).await,
                Err(error) => Err(error),
            };
            return answer.unwrap_or_else(|error| answer::of_mesh_error(&error));
        }
        match self.calling(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// One local port for one service.
    pub(crate) fn port(client: MeshClient, service: Named) -> Self {
        Self {
            client,
            kind: Kind::Port(service),
        }
    }

    /// The same, where the policy may say that the port is one of bytes.
    pub(crate) fn serve_or_carry(
        self,
        mesh: &Mesh,
        listener: TcpListener,
        bytes: Bytes,
        carried: &Carried,
    ) -> Result<ServerHandle, MeshError> {
        let mut port = TcpPort::new(accept(listener)?, bytes.client, carried.clone());
        if bytes.always {
            port = port.always();
        }
        self.serve_on(mesh, port)
    }

    /// The same for anything that accepts.
    pub(crate) fn serve_on(
        self,
        mesh: &Mesh,
        listener: impl Accept,
    ) -> Result<ServerHandle, MeshError> {
        mesh.server().accept(listener).forward_proxy(self)
    }

    /// Takes requests on `listener`, until the handle is told to stop.
    pub(crate) fn serve(
        self,
        mesh: &Mesh,
        listener: TcpListener,
    ) -> Result<ServerHandle, MeshError> {
        mesh.server().accept(accept(listener)?).forward_proxy(self)
    }
}

fn accept(listener: TcpListener) -> Result<TcpAccept, MeshError> {
    TcpAccept::from_std(listener)
        .map_err(|error| MeshError::new(ErrorKind::Internal, format!("local listener: {error}")))
}

impl Service<Request<MeshBody>> for Outbound {
    type Response = Response<MeshBody>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<MeshBody>) -> Answering {
        let checked = match &self.kind {
            Kind::Proxy(proxy) if request.method() == Method::CONNECT => {
                let connect = Box::pin(proxy.clone().connect(request));
                return Answering::Connecting { connect };
            }
            Kind::Proxy(..) => target::absolute(&mut request),
            Kind::Port(_) if request.method() == Method::CONNECT => {
                Err(BadTarget("CONNECT is for the forward proxy"))
            }
            // What the application calls the server (127.0.0.1:9001) means nothing to it.
            Kind::Port(service) => target::set(&mut request, service),
        };
        if let Err(BadTarget(why)) = checked {
            let response = Some(answer::bad_request(why));
            return Answering::Refused { response };
        }
        if let Kind::Proxy(proxy) = &mut self.kind
            && !proxy.has_host_of(&request)
        {
            let connect = Box::pin(self.clone().ask_or_let_out(request));
            return Answering::Connecting { connect };
        }
        self.calling(request)
    }
}

// === impl Answering ===

impl Future for Answering {
    type Output = Result<Response<MeshBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = match self.project() {
            ProjectedAnswering::Refused { response } => match response.take() {
                Some(response) => response,
                None => return Poll::Pending,
            },
            ProjectedAnswering::Connecting { connect } => ready!(connect.as_mut().poll(cx)),
            ProjectedAnswering::Calling {
                call,
                is_grpc,
                relay,
            } => match (ready!(call.poll(cx)), relay.take()) {
                (Ok(response), Some(relay)) if Relay::is_given(&response) => relay.join(response),
                (Ok(response), _) => chain::mark(response, *is_grpc),
                (Err(error), _) => {
                    let mut response = rescue::http_answer(&error);
                    chain::mark_error(&error, response.headers_mut());
                    response
                }
            },
        };
        Poll::Ready(Ok(response))
    }
}

// === impl Proxy ===

impl Proxy {
    /// Whether the policy that is here knows whom the request is for.
    fn has_host_of(&mut self, request: &Request<MeshBody>) -> bool {
        let Some(authority) = request.uri().authority() else {
            return false;
        };
        self.hosts.has(authority.host(), authority.port_u16())
    }

    async fn connect(self, mut request: Request<MeshBody>) -> Response<MeshBody> {
        match self
            .tunnels
            .open(&self.mesh, request.uri().authority())
            .await
        {
            Ok(server) => {
                self.open.spawn(tunnel::copy(
                    mesh_tower::upgrade::bytes_of(&mut request),
                    server,
                ));
                let mut response = Response::new(MeshBody::empty());
                *response.status_mut() = StatusCode::OK;
                response
            }
            Err(error) => answer::no_tunnel(&error),
        }
    }
}
