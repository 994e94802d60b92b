//! The service under an ingress: the routes, or a word about where to come.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderValue, Request, Response, StatusCode, header};
use mesh_core::error::MeshError;
use tower_service::Service;

use super::Refused;
use super::refused::host_of;
use crate::MeshClient;
use crate::body::MeshBody;
use crate::mesh::Mesh;
use crate::transport::ConnInfo;
use crate::upgrade::Relay;

/// What all requests of an ingress come to. Each connection has a clone, and with it what its client
/// saw of the policy last: behind a seam that would be one for each request.
#[derive(Clone)]
pub(in crate::server) enum Entrance {
    /// Sends requests where the routes say.
    Routes(MeshClient),
    /// Answers every request with where it is served: `https://` of the same host, at this port.
    ToHttps(u16),
}

// === impl Entrance ===

impl Entrance {
    pub(in crate::server) fn routes(mesh: &Mesh, port: u16, refused: Arc<Refused>) -> Self {
        let client = MeshClient::for_entry(
            mesh.inner(),
            port,
            Arc::new(move |error, asked| {
                let info = asked.extensions.get::<ConnInfo>();
                let remote = info.and_then(|info| info.remote);
                let host = host_of(asked.uri, asked.headers);
                refused
                    .no_route
                    .tell(remote, host, Some(error.http_status()));
            }),
        );
        Self::Routes(client)
    }
}

impl Service<Request<MeshBody>> for Entrance {
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, MeshError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<MeshBody>) -> Self::Future {
        match self {
            Self::Routes(client) => {
                let relay = Relay::of(&mut request);
                let call = client.call(request);
                Box::pin(async move { Ok(Relay::answer(relay, call.await?)) })
            }
            Self::ToHttps(port) => Box::pin(ready(Ok(to_https(*port, &request)))),
        }
    }
}

fn to_https<B>(port: u16, request: &Request<B>) -> Response<MeshBody> {
    let mut response = Response::new(MeshBody::empty());
    *response.status_mut() = match location(port, request) {
        Some(location) => {
            response.headers_mut().insert(header::LOCATION, location);
            StatusCode::PERMANENT_REDIRECT
        }
        // `OPTIONS *` is about no place.
        None => StatusCode::BAD_REQUEST,
    };
    response
}

fn location<B>(port: u16, request: &Request<B>) -> Option<HeaderValue> {
    let uri = request.uri();
    let host = uri.host()?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let location = match port {
        443 => format!("https://{host}{path}"),
        port => format!("https://{host}:{port}{path}"),
    };
    HeaderValue::try_from(location).ok()
}
