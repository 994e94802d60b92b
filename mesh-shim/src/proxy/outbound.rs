//! Requests of the application on their way into the mesh.

use std::sync::Arc;

use http::uri::Authority;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use mesh_core::error::MeshError;
use mesh_tower::MeshClient;
use mesh_tower::body::MeshBody;
use tokio_util::task::TaskTracker;
use tower_service::Service as _;

use super::listen::Answer;
use super::tunnel::{self, Tunnels};
use super::{answer, chain, hop, target};

/// Sends what arrives on one local listener.
#[derive(Clone)]
pub(crate) struct Outbound {
    client: MeshClient,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    /// The forward proxy: the request names its target.
    Proxy(Arc<Tunnels>, TaskTracker),
    /// An explicit port: everything goes to one service, and is addressed to it.
    Port(Authority),
}

impl Outbound {
    /// The forward proxy. `client` routes by authority.
    pub(crate) fn proxy(client: MeshClient, tunnels: Arc<Tunnels>, open: TaskTracker) -> Self {
        Self {
            client,
            kind: Kind::Proxy(tunnels, open),
        }
    }

    /// One local port for one service.
    pub(crate) fn port(client: MeshClient, service: Authority) -> Self {
        Self {
            client,
            kind: Kind::Port(service),
        }
    }
}

impl Answer for Outbound {
    async fn answer(self, mut request: Request<Incoming>) -> Response<MeshBody> {
        let checked = match &self.kind {
            Kind::Proxy(tunnels, open) if request.method() == Method::CONNECT => {
                return connect(request, tunnels, open).await;
            }
            Kind::Proxy(..) => target::absolute(&mut request),
            // What the application calls the server (127.0.0.1:9001) means nothing to it.
            Kind::Port(service) => target::set_authority(&mut request, service),
        };
        if let Err(target::BadTarget(why)) = checked {
            return answer::bad_request(why);
        }
        send(self.client, request).await
    }
}

async fn send(mut client: MeshClient, mut request: Request<Incoming>) -> Response<MeshBody> {
    hop::strip(request.headers_mut());
    let is_grpc = mesh_core::classify::grpc::is_grpc(request.headers());
    let sent: Result<Response<MeshBody>, MeshError> = client.call(request).await;
    match sent {
        // Nobody asked to switch protocols: `Upgrade` does not travel.
        Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            let mut refused = answer::bad_request("the service switched protocols unasked");
            *refused.status_mut() = StatusCode::BAD_GATEWAY;
            refused
        }
        Ok(mut response) => {
            hop::strip(response.headers_mut());
            chain::mark(response, is_grpc)
        }
        Err(error) => {
            let mut response = answer::of_mesh_error(&error);
            chain::mark_error(&error, response.headers_mut());
            response
        }
    }
}

async fn connect(
    mut request: Request<Incoming>,
    tunnels: &Tunnels,
    open: &TaskTracker,
) -> Response<MeshBody> {
    match tunnels.open(request.uri().authority()).await {
        Ok(server) => {
            open.spawn(tunnel::copy(hyper::upgrade::on(&mut request), server));
            Response::new(MeshBody::empty())
        }
        Err(error) => answer::no_tunnel(&error),
    }
}
