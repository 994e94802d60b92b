//! Chain stop over two shims with an application between them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode};
use mesh_tower::Mesh;
use mesh_tower::body::MeshBody;
use mesh_tower::server::ServerHandle;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::Outbound;
use super::tests::{ask, listen};
use crate::config::{App, AppProtocol};

const RETRIES: &str = "route: [{ retry: { attempts: 2, codes: [503], backoff: 1ms } }]";

/// An application that knows nothing of the mesh but its forward proxy.
#[derive(Clone, Copy)]
struct Middle {
    proxy: SocketAddr,
    copies: bool,
}

fn unavailable() -> Response<MeshBody> {
    let mut response = Response::new(MeshBody::empty());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

impl Middle {
    async fn answer(self, request: Request<MeshBody>) -> Response<MeshBody> {
        let attempt = request.headers().get("x-mesh-attempt");
        let copied = match attempt.filter(|_| self.copies) {
            Some(attempt) => format!("x-mesh-attempt: {}\r\n", attempt.to_str().unwrap()),
            None => String::new(),
        };
        let below = format!(
            "GET http://leaf.shop/ HTTP/1.1\r\nHost: leaf.shop\r\n{copied}Connection: close\r\n\r\n"
        );
        let below = ask(self.proxy, &below).await;
        assert!(below.starts_with("http/1.1 503"), "{below}");
        assert!(below.contains("x-mesh-retried: 1"), "{below}");
        let mut response = unavailable();
        if self.copies {
            let value = HeaderValue::from_static("1");
            response.headers_mut().insert("x-mesh-retried", value);
        }
        response
    }
}

/// A plain server that knows nothing of the mesh.
fn run<F>(answer: impl Fn(Request<MeshBody>) -> F + Clone + Send + Sync + 'static) -> ServerHandle
where
    F: Future<Output = Response<MeshBody>> + Send + 'static,
{
    let service = tower::service_fn(move |request| {
        let answered = answer(request);
        async { Ok::<_, Infallible>(answered.await) }
    });
    let mesh = Mesh::builder("shop/plain").build().unwrap();
    let server = mesh.server().bind("127.0.0.1:0").unwrap();
    server.forward_proxy(service).unwrap()
}

/// How many requests of one call reach the leaf.
async fn requests_at_the_leaf(copies: bool) -> u32 {
    let seen = Arc::new(AtomicU32::new(0));
    let counted = seen.clone();
    let leaf = run(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { unavailable() }
    });
    let below = Mesh::builder("shop/app")
        .policy_text(&format!("service: shop/leaf\n{RETRIES}"))
        .endpoints("leaf.shop", [leaf.local_addr()])
        .build()
        .unwrap();
    let outbound = Outbound::proxy(&below, Arc::default(), TaskTracker::new());
    let proxy = listen(&below, outbound);
    let middle = Middle {
        proxy: proxy.local_addr(),
        copies,
    };
    let middle = run(move |request| middle.answer(request));
    let app = App {
        addr: middle.local_addr(),
        protocol: AppProtocol::Http,
        forwarded: false,
        ready_within: Duration::from_secs(1),
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let inbound = crate::inbound::serve(&below, app, listener).unwrap();

    let front = Mesh::builder("shop/front")
        .policy_text(&format!("service: shop/app\n{RETRIES}"))
        .endpoints("app.shop", [inbound.local_addr()])
        .build()
        .unwrap();
    let request = Request::new(MeshBody::empty());
    let answer = front.client("shop/app").oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 503);
    seen.load(Ordering::Relaxed)
}

#[tokio::test]
async fn what_a_shim_has_retried_is_not_retried_above_when_the_application_copies_the_mark() {
    // Three attempts at the hop next to the leaf, one above.
    assert_eq!(requests_at_the_leaf(true).await, 3);
    // Who copies nothing leaves the shims nothing to know it by: three times three.
    assert_eq!(requests_at_the_leaf(false).await, 9);
}
