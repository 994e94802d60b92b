//! `/livez`, `/readyz` and `/metrics`: on the main thread, away from the workers, so that they
//! answer whatever the traffic does and cost it nothing.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use mesh_tower::Mesh;
use mesh_tower::body::MeshBody;
use tokio::sync::watch;

use crate::proxy::{Answer, Tunnels};

/// Whether the shim can take requests for its application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Not yet: joining, or the application does not accept.
    Starting,
    /// Yes.
    Ready,
    /// No more.
    Draining,
}

/// `/livez` and `/readyz`.
#[derive(Clone)]
pub(crate) struct Health {
    readiness: watch::Receiver<Readiness>,
}

impl Health {
    pub(crate) fn new(readiness: watch::Receiver<Readiness>) -> Self {
        Self { readiness }
    }
}

impl Answer for Health {
    fn answer(
        self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<MeshBody>> + Send + 'static {
        let readiness = *self.readiness.borrow();
        std::future::ready(health(request.method(), request.uri().path(), readiness))
    }
}

fn health(method: &Method, path: &str, readiness: Readiness) -> Response<MeshBody> {
    if *method != Method::GET && *method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
    }
    match (path, readiness) {
        ("/livez", _) | ("/readyz", Readiness::Ready) => text(StatusCode::OK, "ok\n"),
        ("/readyz", Readiness::Starting) => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        ("/readyz", Readiness::Draining) => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        _ => text(StatusCode::NOT_FOUND, "/livez or /readyz\n"),
    }
}

/// `/metrics`: the mesh's, then the shim's own.
#[derive(Clone)]
pub(crate) struct Metrics {
    mesh: Mesh,
    tunnels: Arc<Tunnels>,
}

impl Metrics {
    pub(crate) fn new(mesh: Mesh, tunnels: Arc<Tunnels>) -> Self {
        Self { mesh, tunnels }
    }
}

impl Answer for Metrics {
    fn answer(
        self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<MeshBody>> + Send + 'static {
        let response = if request.uri().path() == "/metrics" {
            let mut response = Response::new(MeshBody::full(format!(
                "{}{}",
                self.mesh.metrics_text(),
                self.tunnels.metrics()
            )));
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        } else {
            text(StatusCode::NOT_FOUND, "/metrics\n")
        };
        std::future::ready(response)
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<MeshBody> {
    let mut response = Response::new(MeshBody::full(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_between_start_and_drain() {
        let status = |path, readiness| health(&Method::GET, path, readiness).status();
        for readiness in [Readiness::Starting, Readiness::Ready, Readiness::Draining] {
            assert_eq!(status("/livez", readiness), 200);
            let expected = if readiness == Readiness::Ready {
                200
            } else {
                503
            };
            assert_eq!(status("/readyz", readiness), expected);
        }
        assert_eq!(status("/", Readiness::Ready), 404);
        assert_eq!(
            health(&Method::POST, "/livez", Readiness::Ready).status(),
            405
        );
    }
}
