//! `/livez`, `/readyz` and `/metrics` of a process, in plaintext, on an address that was asked for.

use std::borrow::Cow;
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
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::Mesh;
use crate::body::MeshBody;

/// Probes and one scraper need few; more wait in the kernel's queue.
const CONNECTIONS: usize = 32;
/// Longest time from the connection to the end of a request's head.
const HEAD: Duration = Duration::from_secs(10);

type Unready = Arc<dyn Fn() -> Option<Cow<'static, str>> + Send + Sync>;
type Parts = Arc<dyn Fn() -> Vec<AdminPart> + Send + Sync>;
type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// `/livez`, `/readyz` and `/metrics`, for a process that has its own word on them. Others call
/// [`Mesh::serve_admin`].
#[derive(Clone)]
pub struct AdminPages {
    unready: Unready,
    parts: Option<Parts>,
    metrics: Option<Metrics>,
}

/// One of several that a process speaks for, as on a line of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminPart {
    /// What `/readyz/NAME` calls it, such as `shop/web`.
    pub name: String,
    /// Why it does not want traffic; `None` when it does.
    pub unready: Option<Cow<'static, str>>,
}

// === impl AdminPages ===

impl AdminPages {
    /// `unready` says why the process does not want traffic, `None` when it does. There are no
    /// metrics.
    pub fn new<R: Into<Cow<'static, str>>>(
        unready: impl Fn() -> Option<R> + Send + Sync + 'static,
    ) -> Self {
        Self {
            unready: Arc::new(move || unready().map(Into::into)),
            parts: None,
            metrics: None,
        }
    }

    /// The same for a process that speaks for several: `/readyz` has a line for each and is ready when
    /// all are, `/readyz/NAME` is about one.
    #[must_use]
    pub fn with_parts(
        mut self,
        parts: impl Fn() -> Vec<AdminPart> + Send + Sync + 'static,
    ) -> Self {
        self.parts = Some(Arc::new(parts));
        self
    }

    /// The same with metrics, as Prometheus text.
    #[must_use]
    pub fn with_metrics(mut self, text: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.metrics = Some(Arc::new(text));
        self
    }

    /// Serves them until the future is dropped, at most 32 connections at a time. Plain HTTP without
    /// any access rule: give it a loopback address.
    pub async fn serve(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            while connections.len() >= CONNECTIONS {
                connections.join_next().await;
            }
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            match accepted {
                Ok((stream, _)) => {
                    connections.spawn(self.clone().connection(stream));
                }
                // Out of file descriptors, most likely: let others give some back.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn connection(self, stream: TcpStream) {
        let service = service_fn(move |request: Request<Incoming>| {
            let response = self.answer(request.method(), request.uri().path());
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let _ = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    fn answer(&self, method: &Method, path: &str) -> Response<MeshBody> {
        if *method != Method::GET && *method != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
        }
        match (path, &self.metrics) {
            ("/livez", _) => text(StatusCode::OK, "ok\n"),
            ("/readyz", _) => self.readiness(),
            ("/metrics", Some(metrics)) => text(StatusCode::OK, metrics()),
            (path, _) if path.starts_with("/readyz/") => self.readiness_of(&path[8..]),
            (_, Some(_)) => text(StatusCode::NOT_FOUND, "/livez, /readyz or /metrics\n"),
            (_, None) => text(StatusCode::NOT_FOUND, "/livez or /readyz\n"),
        }
    }

    fn readiness(&self) -> Response<MeshBody> {
        let whole = (self.unready)();
        let Some(parts) = &self.parts else {
            return ready(whole);
        };
        let parts = parts();
        let all = whole.is_none() && parts.iter().all(|part| part.unready.is_none());
        let mut lines = whole.map_or_else(String::new, |why| format!("{why}\n"));
        for AdminPart { name, unready } in &parts {
            let word = unready.as_deref().unwrap_or("ok");
            lines.push_str(&format!("{name} {word}\n"));
        }
        match all {
            true => text(StatusCode::OK, lines),
            false => text(StatusCode::SERVICE_UNAVAILABLE, lines),
        }
    }

    fn readiness_of(&self, name: &str) -> Response<MeshBody> {
        let parts = self.parts.as_ref().map(|parts| parts());
        let mut parts = parts.unwrap_or_default().into_iter();
        match parts.find(|part| part.name == name) {
            Some(part) => ready((self.unready)().or(part.unready)),
            None => text(StatusCode::NOT_FOUND, "no such name; /readyz has them\n"),
        }
    }
}

impl std::fmt::Debug for AdminPages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminPages").finish_non_exhaustive()
    }
}

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
        self.spawn(self.admin_pages().serve(listener));
        Ok(bound)
    }

    fn admin_pages(&self) -> AdminPages {
        let (weak, measured) = (self.downgrade(), self.downgrade());
        let unready = move || match weak.upgrade() {
            None => Some("stopping"),
            Some(mesh) if !mesh.drain().is_serving() => Some("draining"),
            Some(mesh) => (!*mesh.ready().borrow()).then_some("starting"),
        };
        let metrics = move || {
            measured
                .upgrade()
                .map_or_else(String::new, |mesh| mesh.metrics_text())
        };
        AdminPages::new(unready).with_metrics(metrics)
    }
}

fn ready(unready: Option<Cow<'static, str>>) -> Response<MeshBody> {
    match unready {
        None => text(StatusCode::OK, "ok\n"),
        Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
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
        mesh.admin_pages().answer(method, path).status().as_u16()
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

    #[test]
    fn a_process_with_a_word_of_its_own_has_it_and_no_metrics_unless_it_gives_some() {
        let pages = AdminPages::new(|| Some("warming up"));
        let status = |pages: &AdminPages, path| pages.answer(&Method::GET, path).status().as_u16();
        assert_eq!(status(&pages, "/livez"), 200);
        assert_eq!(status(&pages, "/readyz"), 503);
        assert_eq!(status(&pages, "/metrics"), 404);
        let pages = pages.with_metrics(|| "a 1\n".to_owned());
        assert_eq!(status(&pages, "/metrics"), 200);
    }

    #[tokio::test]
    async fn each_part_has_a_line_and_a_page_and_one_that_is_not_ready_makes_the_whole_so() {
        use http_body_util::BodyExt as _;
        let part = |name: &str, unready: Option<&'static str>| AdminPart {
            name: name.to_owned(),
            unready: unready.map(Into::into),
        };
        let pages = AdminPages::new(|| None::<&str>).with_parts(move || {
            vec![
                part("shop/web", None),
                part("shop/redis", Some("127.0.0.1:6379 does not accept")),
            ]
        });
        let ask = async |path: &str| {
            let answer = pages.answer(&Method::GET, path);
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.expect("a body");
            (
                status,
                String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            )
        };
        let lines = "shop/web ok\nshop/redis 127.0.0.1:6379 does not accept\n";
        assert_eq!(ask("/readyz").await, (503, lines.to_owned()));
        assert_eq!(ask("/readyz/shop/web").await, (200, "ok\n".to_owned()));
        assert_eq!(ask("/readyz/shop/redis").await.0, 503);
        assert_eq!(ask("/readyz/shop/none").await.0, 404);
        // Without parts there is no such page.
        let pages = AdminPages::new(|| None::<&str>);
        let answer = pages.answer(&Method::GET, "/readyz/shop/web");
        assert_eq!(answer.status().as_u16(), 404);
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
