//! `/livez`, `/readyz` and `/metrics` of a process, in plaintext, on an address that was asked for.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use mesh_core::error::{ErrorKind, MeshError};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{Mesh, WeakMesh};
use crate::body::MeshBody;

/// Probes and one scraper need few; more wait in the kernel's queue.
const CONNECTIONS: usize = 32;
/// Longest time from the connection to the end of a request's head.
const HEAD: Duration = Duration::from_secs(10);

impl Mesh {
    /// Serves `/livez`, `/readyz` and `/metrics` of this process on `addr` until it ends, and gives the
    /// address bound. Plain HTTP without any access rule: give it a loopback address.
    ///
    /// # Errors
    ///
    /// Kind Internal, when the address cannot be bound.
    pub async fn serve_admin(&self, addr: SocketAddr) -> Result<SocketAddr, MeshError> {
        let fault = |error: std::io::Error| {
            let message = format!("the admin address {addr} cannot be used: {error}");
            MeshError::new(ErrorKind::Internal, message).with_source(error)
        };
        let listener = TcpListener::bind(addr).await.map_err(fault)?;
        let bound = listener.local_addr().map_err(fault)?;
        self.spawn(accept(listener, self.downgrade()));
        Ok(bound)
    }
}

async fn accept(listener: TcpListener, mesh: WeakMesh) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: let others give some back.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let weak = mesh.clone();
        let Some(mesh) = mesh.upgrade() else { return };
        mesh.spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let response = answer(&weak, request.method(), request.uri().path());
                std::future::ready(Ok::<_, Infallible>(response))
            });
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(permit);
        });
    }
}

fn answer(mesh: &WeakMesh, method: &Method, path: &str) -> Response<MeshBody> {
    if *method != Method::GET && *method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
    }
    let Some(mesh) = mesh.upgrade() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    };
    match path {
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" if !mesh.drain().is_serving() => {
            text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        }
        "/readyz" if !*mesh.ready().borrow() => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        "/readyz" => text(StatusCode::OK, "ok\n"),
        "/metrics" => text(StatusCode::OK, mesh.metrics_text()),
        _ => text(StatusCode::NOT_FOUND, "/livez, /readyz or /metrics\n"),
    }
}

fn text(status: StatusCode, text: impl Into<bytes::Bytes>) -> Response<MeshBody> {
    let mut response = Response::new(MeshBody::full(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(mesh: &Mesh, method: &Method, path: &str) -> u16 {
        answer(&mesh.downgrade(), method, path).status().as_u16()
    }

    #[tokio::test]
    async fn readiness_follows_the_feed_and_the_drain() {
        let mesh = Mesh::builder("shop/web").build().expect("a mesh");
        assert_eq!(status(&mesh, &Method::GET, "/readyz"), 200);
        mesh.feed().set_ready(false);
        assert_eq!(status(&mesh, &Method::GET, "/readyz"), 503);
        assert_eq!(status(&mesh, &Method::GET, "/livez"), 200);
        mesh.feed().set_ready(true);
        mesh.drain().start();
        assert_eq!(status(&mesh, &Method::GET, "/readyz"), 503);
        assert_eq!(status(&mesh, &Method::GET, "/"), 404);
        assert_eq!(status(&mesh, &Method::POST, "/livez"), 405);
    }

    #[tokio::test]
    async fn metrics_are_served_over_a_socket() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mesh = Mesh::builder("shop/web").build().expect("a mesh");
        let addr = mesh
            .serve_admin(([127, 0, 0, 1], 0).into())
            .await
            .expect("a free port");
        let mut stream = tokio::net::TcpStream::connect(addr)
            .await
            .expect("it listens");
        let request = "GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("text");
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        let error = mesh.serve_admin(addr).await.expect_err("the port is taken");
        assert!(error.to_string().contains(&addr.to_string()), "{error}");
    }
}
