use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use mesh_core::{policy::store::Layer, report::Report};
use tokio::sync::Notify;
use tower::service_fn;

use super::*;
use crate::{
    BoxError, context,
    server::{Limits, ServerHandle},
};

const DENY_ALL: &str = "
service: shop/reviews
access:
  mode: Enforce
  allow:
  - from: web
";

fn report(mesh: &Mesh) -> Report {
    mesh.report()
}

fn start<S, R>(mesh: &Mesh, service: S) -> ServerHandle
where
    S: tower_service::Service<Request<MeshBody>, Response = Response<R>>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    mesh.server()
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(service)
        .unwrap()
}

#[tokio::test]
async fn an_axum_router_is_a_service() {
    let app = axum::Router::new().route("/hello", axum::routing::get(|| async { "hello" }));
    let server = start(&mesh(), app);
    let mut client = client1(server.local_addr()).await;
    let answer = client.send_request(empty(get("/hello"))).await.unwrap();
    assert_eq!(text(answer).await, "hello");
}

#[tokio::test]
async fn the_handler_and_its_body_see_the_callers_context() {
    async fn handler(_: Request<MeshBody>) -> Result<Response<MeshBody>, Infallible> {
        let before = context::current().expect("the handler is in scope");
        assert!(before.deadline.is_some());
        assert_eq!(before.attempt, 2);
        let frames = futures_util::stream::once(async {
            let context = context::current().expect("the body is in scope");
            let text = context.trace.traceparent().to_string();
            Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(text)))
        });
        Ok(Response::new(MeshBody::new(
            http_body_util::StreamBody::new(frames),
        )))
    }
    let server = start(&mesh(), service_fn(handler));
    let mut client = client1(server.local_addr()).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = get("/")
        .header("traceparent", trace)
        .header("x-mesh-timeout-ms", "60000")
        .header("x-mesh-attempt", "3");
    let answer = client.send_request(empty(request)).await.unwrap();
    assert_eq!(text(answer).await, trace);
}

#[tokio::test]
async fn expired_work_is_refused_before_the_handler() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let server = start(
        &mesh(),
        service_fn(move |request| {
            counted.fetch_add(1, Relaxed);
            echo(request)
        }),
    );
    let mut client = client1(server.local_addr()).await;
    let expired = get("/")
        .header("x-mesh-timeout-ms", "0")
        .header("x-mesh-routed", "1");
    let answer = client.send_request(empty(expired)).await.unwrap();
    assert_eq!(answer.status(), 504);
    assert_eq!(answer.headers()["mesh-reason"], "M2008");
    text(answer).await;

    let grpc = get("/shop.Reviews/Get")
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "0n");
    let answer = client.send_request(empty(grpc)).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["grpc-status"], "4");
    // A stranger is told no code.
    assert!(!answer.headers().contains_key("mesh-reason"));
    assert_eq!(calls.load(Relaxed), 0);
}

#[tokio::test]
async fn the_handler_is_dropped_at_the_deadline() {
    struct Dropped(Arc<Notify>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let dropped = Arc::new(Notify::new());
    let seen = dropped.clone();
    let server = start(
        &mesh(),
        service_fn(move |_: Request<MeshBody>| {
            let guard = Dropped(seen.clone());
            async move {
                std::future::pending::<()>().await;
                drop(guard);
                Ok::<_, Infallible>(Response::new(MeshBody::empty()))
            }
        }),
    );
    let mut client = client1(server.local_addr()).await;
    let request = empty(get("/").header("x-mesh-timeout-ms", "50"));
    let answer = soon("the deadline", client.send_request(request))
        .await
        .unwrap();
    assert_eq!(answer.status(), 504);
    soon("the handler is dropped", dropped.notified()).await;
}

#[tokio::test]
async fn a_grpc_stream_ends_with_its_deadline_in_the_trailers() {
    let server = start(
        &mesh(),
        service_fn(async |_: Request<MeshBody>| {
            let forever =
                futures_util::stream::pending::<Result<http_body::Frame<Bytes>, Infallible>>();
            let body = MeshBody::new(http_body_util::StreamBody::new(forever));
            let answer = Response::builder()
                .header("content-type", "application/grpc")
                .body(body);
            Ok::<_, Infallible>(answer.unwrap())
        }),
    );
    let mut client = client2(server.local_addr()).await;
    let request = Request::post("http://reviews.shop/shop.Reviews/Watch")
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "50m");
    let answer = soon("the head", client.send_request(empty(request)))
        .await
        .unwrap();
    let body = soon("the trailers", answer.into_body().collect())
        .await
        .unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "4");
}

#[tokio::test]
async fn a_panic_is_an_answer_and_the_connection_lives() {
    let mesh = mesh();
    let server = start(
        &mesh,
        service_fn(async |request: Request<MeshBody>| {
            assert!(request.uri().path() != "/bad", "a bug");
            echo(request).await
        }),
    );
    let mut client = client1(server.local_addr()).await;
    let answer = client.send_request(empty(get("/bad"))).await.unwrap();
    assert_eq!(answer.status(), 500);
    text(answer).await;
    let answer = client.send_request(empty(get("/good"))).await.unwrap();
    assert_eq!(answer.status(), 200);
    let metrics = mesh.recorder().render();
    assert!(metrics.contains("error_type=\"internal\"} 1"), "{metrics}");
}

#[tokio::test]
async fn policy_changes_apply_to_the_next_request_on_a_live_connection() {
    let mesh = mesh();
    let server = start(&mesh, service_fn(echo));
    let mut client = client2(server.local_addr()).await;
    let request = || empty(Request::get("http://reviews.shop/x").header("x-mesh-routed", "1"));
    assert_eq!(client.send_request(request()).await.unwrap().status(), 200);

    let loaded = mesh_core::policy::text::load(&[mesh_core::policy::text::Source {
        name: "test.yaml".into(),
        text: DENY_ALL.into(),
    }]);
    mesh.store().apply(Layer::Code, loaded.resources).unwrap();
    let denied = client.send_request(request()).await.unwrap();
    assert_eq!(denied.status(), 403);
    assert_eq!(denied.headers()["mesh-reason"], "M4001");
    assert_eq!(text(denied).await, "denied [M4001]\n");

    let mut probe = client1(server.local_addr()).await;
    let health = probe
        .send_request(empty(get("/.mesh/health")))
        .await
        .unwrap();
    assert_eq!(health.status(), 200);

    let report = report(&mesh);
    let row = report
        .inbound
        .iter()
        .find(|row| row.from == "plaintext")
        .unwrap();
    assert_eq!((row.calls, row.denied, row.failures), (3, 1, 0));
    assert_eq!(row.codes["M4001"], 1);
}

#[tokio::test]
async fn requests_above_the_limit_are_refused_at_once() {
    let release = Arc::new(Notify::new());
    let entered = Arc::new(Notify::new());
    let (hold, enter) = (release.clone(), entered.clone());
    let mesh = mesh();
    let server = mesh
        .server()
        .limits(Limits {
            requests: 1,
            ..Limits::default()
        })
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(service_fn(move |request| {
            let (hold, enter) = (hold.clone(), enter.clone());
            async move {
                enter.notify_one();
                hold.notified().await;
                echo(request).await
            }
        }))
        .unwrap();
    let mut first = client1(server.local_addr()).await;
    let first = tokio::spawn(async move { first.send_request(empty(get("/"))).await });
    soon("the first request arrives", entered.notified()).await;

    let mut second = client1(server.local_addr()).await;
    let refused = second
        .send_request(empty(get("/").header("x-mesh-routed", "1")))
        .await
        .unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["mesh-reason"], "M2014");
    assert_eq!(refused.headers()["x-mesh-outcome"], "unprocessed");
    assert_eq!(refused.headers()["retry-after"], "1");
    release.notify_one();
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn the_services_own_error_is_a_500_with_a_code() {
    let server = start(
        &mesh(),
        service_fn(async |_: Request<MeshBody>| {
            Err::<Response<MeshBody>, BoxError>("secret detail".into())
        }),
    );
    let mut client = client1(server.local_addr()).await;
    let answer = client
        .send_request(empty(get("/").header("x-mesh-routed", "1")))
        .await
        .unwrap();
    assert_eq!(answer.status(), 500);
    assert_eq!(text(answer).await, "internal error [M2099]\n");
}

#[tokio::test]
async fn grpc_is_counted_by_its_trailers() {
    let mesh = mesh();
    let server = start(
        &mesh,
        service_fn(async |_: Request<MeshBody>| {
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("14"));
            let frames = [
                Ok::<_, Infallible>(http_body::Frame::data(Bytes::from_static(b"x"))),
                Ok(http_body::Frame::trailers(trailers)),
            ];
            let body = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
            Ok::<_, Infallible>(Response::new(MeshBody::new(body)))
        }),
    );
    let mut client = client2(server.local_addr()).await;
    let request = Request::post("http://reviews.shop/shop.Reviews/Get")
        .header("content-type", "application/grpc");
    let answer = client.send_request(empty(request)).await.unwrap();
    answer.into_body().collect().await.unwrap();
    let metrics = mesh.recorder().render();
    assert!(metrics.contains("status=\"grpc-14\""), "{metrics}");
    let report = report(&mesh);
    assert_eq!(report.inbound[0].failures, 1);
    assert_eq!(report.inbound[0].codes["grpc-14"], 1);
}

/// A service that never answers, and says when a request came and when it was dropped.
fn endless(mesh: &Mesh) -> (ServerHandle, Arc<Notify>, Arc<Notify>) {
    struct Dropped(Arc<Notify>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let (came, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (entered, dropped) = (came.clone(), gone.clone());
    let service = service_fn(move |_: Request<MeshBody>| {
        let guard = Dropped(dropped.clone());
        entered.notify_one();
        async move {
            std::future::pending::<()>().await;
            drop(guard);
            Ok::<_, Infallible>(Response::new(MeshBody::empty()))
        }
    });
    (start(mesh, service), came, gone)
}

#[tokio::test]
async fn a_cancelled_stream_drops_its_handler_at_once() {
    let mesh = mesh();
    let (server, came, gone) = endless(&mesh);
    let mut client = client2(server.local_addr()).await;
    let request = empty(Request::get("http://reviews.shop/x"));
    let call = tokio::spawn(async move {
        let answer = client.send_request(request).await;
        drop((answer, client));
    });
    soon("the request arrives", came.notified()).await;
    call.abort();
    soon("the handler is dropped", gone.notified()).await;
    soon("it is counted", async {
        while !mesh.recorder().render().contains("class=\"cancelled\"") {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_reset_connection_drops_its_handler_at_once() {
    let (server, came, gone) = endless(&mesh());
    let mut io = TcpStream::connect(server.local_addr()).await.unwrap();
    io.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    soon("the request arrives", came.notified()).await;
    // With no time to linger the close is a reset: a FIN alone may be a half-close, and is answered.
    socket2::SockRef::from(&io)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(io);
    soon("the handler is dropped", gone.notified()).await;
}

#[tokio::test]
async fn a_client_that_has_said_all_still_gets_its_answer() {
    let server = start(&mesh(), service_fn(echo));
    let mut io = TcpStream::connect(server.local_addr()).await.unwrap();
    io.write_all(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    io.shutdown().await.unwrap();
    let mut answer = String::new();
    soon("the answer", io.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(answer.ends_with("GET /x "), "{answer}");
}

#[tokio::test]
async fn a_websocket_is_upgraded_and_may_be_silent() {
    let service = service_fn(async |mut request: Request<MeshBody>| {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgrade.await.unwrap());
            let mut ping = [0; 4];
            io.read_exact(&mut ping).await.unwrap();
            io.write_all(b"pong").await.unwrap();
        });
        let answer = Response::builder()
            .status(101)
            .header("connection", "upgrade")
            .header("upgrade", "websocket");
        Ok::<_, Infallible>(answer.body(MeshBody::empty()).unwrap())
    });
    let limits = Limits {
        idle: Duration::from_millis(20),
        ..Limits::default()
    };
    let mesh = mesh();
    let server = mesh
        .server()
        .limits(limits)
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(service)
        .unwrap();
    let mut io = TcpStream::connect(server.local_addr()).await.unwrap();
    let head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    io.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(soon("the head", io.read_u8()).await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"));
    // Far longer than an idle connection may be; a tunnel has no such limit.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3600)).await;
    tokio::time::resume();
    io.write_all(b"ping").await.unwrap();
    let mut pong = [0; 4];
    soon("the tunnel", io.read_exact(&mut pong)).await.unwrap();
    assert_eq!(&pong, b"pong");
}

#[tokio::test]
async fn a_connection_that_is_used_outlives_the_time_of_a_head() {
    let limits = crate::server::Limits {
        head: Duration::from_millis(200),
        ..Default::default()
    };
    let mesh = mesh();
    let server = mesh
        .server()
        .limits(limits)
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(service_fn(echo))
        .unwrap();
    let mut io = TcpStream::connect(server.local_addr()).await.unwrap();
    let began = std::time::Instant::now();
    let mut asked = 0;
    while began.elapsed() < Duration::from_millis(700) {
        io.write_all(b"GET /x HTTP/1.1\r\nhost: reviews.shop\r\n\r\n")
            .await
            .unwrap();
        let mut answer = [0; 1024];
        let got = soon("an answer", io.read(&mut answer)).await.unwrap();
        assert!(
            got > 0,
            "cut after {:?} and {asked} requests",
            began.elapsed()
        );
        asked += 1;
        // The pace of the requests: far within the head's 200 ms, until three times that have passed.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
