//! The services under an ingress: the routes, or a word about where to come.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderValue, Request, Response, StatusCode, header};
use mesh_core::error::{ErrorKind, MeshError};
use tower_service::Service;

use super::{Outside, Refused};
use crate::MeshClient;
use crate::body::MeshBody;
use crate::mesh::Mesh;
use crate::transport::ConnInfo;
use crate::upgrade::Relay;

/// Sends requests where the routes say.
#[derive(Clone)]
pub(in crate::server) struct Entrance {
    client: MeshClient,
    refused: Arc<Refused>,
}

/// Answers every request with where it is served: `https://` of the same host.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct ToHttps {
    port: u16,
}

// === impl Entrance ===

impl Entrance {
    pub(in crate::server) fn new(mesh: &Mesh, port: u16, refused: Arc<Refused>) -> Self {
        Self {
            client: MeshClient::for_entry(mesh.inner(), port),
            refused,
        }
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
        let relay = Relay::of(&mut request);
        let outside = request.extensions().get::<Outside>().cloned();
        let info = request.extensions().get::<ConnInfo>();
        let remote = info.and_then(|info| info.remote);
        let call = self.client.call(request);
        let refused = self.refused.clone();
        Box::pin(async move {
            match call.await {
                Ok(answer) => Ok(Relay::answer(relay, answer)),
                Err(error) => {
                    if error.kind() == ErrorKind::NoRoute {
                        let host = outside.as_ref().map_or("-", |one| one.host.as_str());
                        let status = error.http_status();
                        refused.no_route.tell(remote, host, Some(status));
                    }
                    Err(error)
                }
            }
        })
    }
}

// === impl ToHttps ===

impl ToHttps {
    pub(in crate::server) fn new(port: u16) -> Self {
        Self { port }
    }

    fn location<B>(self, request: &Request<B>) -> Option<HeaderValue> {
        let uri = request.uri();
        let host = uri.host()?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let location = match self.port {
            443 => format!("https://{host}{path}"),
            port => format!("https://{host}:{port}{path}"),
        };
        HeaderValue::try_from(location).ok()
    }
}

impl Service<Request<MeshBody>> for ToHttps {
    type Response = Response<MeshBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<MeshBody>) -> Self::Future {
        let mut response = Response::new(MeshBody::empty());
        *response.status_mut() = match self.location(&request) {
            Some(location) => {
                response.headers_mut().insert(header::LOCATION, location);
                StatusCode::PERMANENT_REDIRECT
            }
            // `OPTIONS *` is about no place.
            None => StatusCode::BAD_REQUEST,
        };
        ready(Ok(response))
    }
}
