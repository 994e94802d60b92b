use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use mesh_core::error::ErrorKind;

use super::server::{echo, server};
use super::{LONG, call, get, pool, text, until};
use crate::body::MeshBody;
use crate::transport::{ConnInfo, PoolConfig, Protocol};

fn http1(addr: std::net::SocketAddr) -> PoolConfig {
    PoolConfig::new(addr).with_protocol(Protocol::Http1)
}

#[tokio::test]
async fn calls_one_after_the_other_share_a_connection() {
    let server = server().start(echo);
    let pool = pool(http1(server.addr));
    let mut reapers = std::collections::HashSet::new();
    for n in 0..100 {
        let path = format!("/{n}");
        assert_eq!(call(&pool, &path).await.expect("an answer"), path);
        reapers.extend(pool.reapers());
    }
    assert_eq!(server.connections(), 1);
    // It looks while the connection has a call, and stays.
    assert_eq!(
        reapers.len(),
        1,
        "a task for each call is more than the call"
    );
    let stats = pool.stats();
    assert_eq!((stats.open, stats.idle, stats.opened), (1, 1, 1));
}

#[tokio::test]
async fn answers_without_a_body_free_the_connection_and_keep_their_framing() {
    let server = server().start(|request: Request<hyper::body::Incoming>| async move {
        let answer = Response::builder();
        match request.uri().path() {
            "/204" => answer
                .status(StatusCode::NO_CONTENT)
                .body(MeshBody::empty()),
            "/empty" => answer.body(MeshBody::empty()),
            _ => answer
                .header("content-length", "5")
                .body(if request.method() == Method::HEAD {
                    MeshBody::empty()
                } else {
                    MeshBody::full("hello")
                }),
        }
        .expect("a response")
    });
    let pool = pool(http1(server.addr));
    let mut kept = Vec::new();
    for (method, path, header, size) in [
        (Method::HEAD, "/", Some("5"), 0),
        (Method::GET, "/204", None, 0),
        (Method::GET, "/empty", Some("0"), 0),
        (Method::GET, "/", Some("5"), 5),
    ] {
        let mut request = get(path);
        *request.method_mut() = method.clone();
        let response = pool.call(request).await.expect("an answer");
        let length = response
            .headers()
            .get("content-length")
            .map(|v| v.to_str().expect("text"));
        assert_eq!(length, header, "{method} {path}");
        assert_eq!(
            response.body().size_hint().exact(),
            Some(size),
            "{method} {path}"
        );
        assert_eq!(
            response.body().is_end_stream(),
            size == 0,
            "{method} {path}"
        );
        // Not even read: its end was known with its headers.
        kept.push(response);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_answer_that_is_not_read_to_its_end_costs_its_connection() {
    let server = server().start(|_| async { Response::new(MeshBody::full(vec![b'x'; 1 << 20])) });
    let pool = pool(http1(server.addr));
    let mut response = pool.call(get("/")).await.expect("an answer");
    response
        .body_mut()
        .frame()
        .await
        .expect("a frame")
        .expect("data");
    drop(response);
    assert_eq!(
        text(pool.call(get("/")).await.expect("an answer"))
            .await
            .len(),
        1 << 20
    );
    assert_eq!(server.connections(), 2);
    until("the first is closed", || pool.stats().open == 1).await;
}

#[tokio::test]
async fn answers_say_where_they_come_from() {
    let server = server().start(echo);
    let response = pool(http1(server.addr))
        .call(get("/"))
        .await
        .expect("an answer");
    let info = ConnInfo::of(&response).expect("connection");
    assert_eq!(
        (info.remote, info.tls, info.peer.is_none()),
        (Some(server.addr), false, true)
    );
}

/// A server that reads one request, answers, and closes when told to, saying when that is done.
struct Closing {
    addr: std::net::SocketAddr,
    close: mpsc::Sender<()>,
    closed: mpsc::Receiver<()>,
    requests: Arc<AtomicUsize>,
}

fn closing() -> Closing {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let addr = listener.local_addr().expect("an address");
    let (close, told) = mpsc::channel::<()>();
    let (tell, closed) = mpsc::channel();
    let requests = Arc::new(AtomicUsize::new(0));
    let count = requests.clone();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            if !answer_once(&mut stream) {
                continue;
            }
            count.fetch_add(1, Relaxed);
            if told.recv().is_err() {
                return;
            }
            drop(stream);
            let _ = tell.send(());
        }
    });
    Closing {
        addr,
        close,
        closed,
        requests,
    }
}

fn answer_once(stream: &mut TcpStream) -> bool {
    let mut seen = Vec::new();
    let mut buffer = [0; 1024];
    while !seen.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return false,
            Ok(n) => seen.extend_from_slice(&buffer[..n]),
        }
    }
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .is_ok()
}

/// The server closes its idle connection at the moment when the next call begins: the close is in
/// the kernel, and nothing in this process has been woken for it. Blocking on the acknowledgement
/// keeps the runtime from looking.
#[tokio::test]
async fn a_close_just_before_a_call_loses_none_in_a_thousand() {
    let server = closing();
    let mut config = http1(server.addr);
    config.verify_idle_after = Duration::ZERO;
    let pool = pool(config);
    for n in 1..=1000 {
        let mut request = get("/");
        *request.method_mut() = Method::POST;
        let response = pool
            .call(request)
            .await
            .unwrap_or_else(|error| panic!("{n}: {error:#}"));
        assert_eq!(text(response).await, "ok");
        server.close.send(()).expect("the server lives");
        server.closed.recv_timeout(LONG).expect("closed");
    }
    assert_eq!(server.requests.load(Relaxed), 1000);
}

/// A server that closes at a random moment around the next request: a call may fail then, but it is
/// never processed twice, and a failure that says "never sent" is true.
#[tokio::test]
async fn nothing_is_ever_sent_twice() {
    let server = closing();
    let pool = pool(http1(server.addr));
    let (mut answered, mut unsent) = (0, 0);
    for _ in 0..500 {
        let mut request = get("/");
        *request.method_mut() = Method::POST;
        match pool.call(request).await {
            Ok(response) => {
                assert_eq!(text(response).await, "ok");
                answered += 1;
                server.close.send(()).expect("the server lives");
            }
            Err(error) if error.flags().never_sent => unsent += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Protocol, "{error}"),
        }
    }
    assert_eq!(unsent, 0, "those are sent again");
    assert_eq!(server.requests.load(Relaxed), answered);
}

#[tokio::test]
async fn more_calls_than_connections_wait_their_turn() {
    let server = server().start(echo);
    let pool = Arc::new(pool(http1(server.addr).with_max_connections(2)));
    let calls: Vec<_> = (0..50)
        .map(|n| {
            let pool = pool.clone();
            tokio::spawn(async move { call(&pool, &format!("/{n}")).await })
        })
        .collect();
    for (n, one) in calls.into_iter().enumerate() {
        let answer = tokio::time::timeout(LONG, one)
            .await
            .expect("in time")
            .expect("a task");
        assert_eq!(answer.expect("an answer"), format!("/{n}"));
    }
    assert_eq!(server.connections(), 2);
    assert_eq!(pool.stats().waiting, 0);
}

#[tokio::test]
async fn an_idle_connection_of_another_worker_makes_room() {
    let server = server().start(echo);
    let config = http1(server.addr).with_max_connections(1).with_shards(2);
    let pool = Arc::new(pool(config));
    call(&pool, "/").await.expect("an answer");
    let other = pool.clone();
    let worker = std::thread::spawn(move || {
        crate::runtime::set_worker_index(1);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let one = async { tokio::time::timeout(LONG, call(&other, "/other")).await };
        runtime.expect("a runtime").block_on(one)
    });
    until("the other worker is done", || worker.is_finished()).await;
    let answer = worker.join().expect("a thread").expect("in time");
    assert_eq!(answer.expect("an answer"), "/other");
}

#[tokio::test]
async fn old_idle_connections_are_closed() {
    let server = server().start(echo);
    let mut config = http1(server.addr);
    config.policy = config.policy.with_idle_timeout(Duration::from_millis(20));
    let pool = pool(config);
    call(&pool, "/").await.expect("an answer");
    assert_eq!(pool.stats().open, 1);
    until("the connection is closed", || pool.stats().open == 0).await;
    call(&pool, "/").await.expect("an answer");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn closing_the_pool_lets_calls_in_flight_end() {
    let (release, held) = tokio::sync::watch::channel(false);
    let server = server().start(move |_| {
        let mut held = held.clone();
        async move {
            let _ = held.wait_for(|open| *open).await;
            Response::new(MeshBody::full("late"))
        }
    });
    let pool = Arc::new(pool(http1(server.addr)));
    let one = tokio::spawn({
        let pool = pool.clone();
        async move { call(&pool, "/").await }
    });
    until("the call is there", || server.requests() == 1).await;
    pool.close();
    let refused = call(&pool, "/").await.expect_err("closed");
    assert!(refused.is_retryable());
    release.send(true).expect("the server lives");
    assert_eq!(one.await.expect("a task").expect("an answer"), "late");
    until("its connection is closed", || pool.stats().open == 0).await;
}

#[tokio::test]
async fn a_dropped_call_is_dropped_at_the_server() {
    super::failures::dropped_upstream(Protocol::Http1).await;
}

#[tokio::test]
async fn an_upgrade_passes_bytes_both_ways() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = server().start(|mut request| async move {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = hyper_util::rt::TokioIo::new(upgrade.await.expect("upgraded"));
            let mut four = [0; 4];
            io.read_exact(&mut four).await.expect("read");
            io.write_all(&four).await.expect("written");
        });
        Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header("connection", "upgrade")
            .header("upgrade", "echo")
            .body(MeshBody::empty())
            .expect("a response")
    });
    let pool = pool(http1(server.addr));
    let mut request = get("/");
    request
        .headers_mut()
        .insert("connection", "upgrade".parse().expect("a value"));
    request
        .headers_mut()
        .insert("upgrade", "echo".parse().expect("a value"));
    let mut response = pool.call(request).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let upgraded = hyper::upgrade::on(&mut response).await.expect("upgraded");
    let mut io = hyper_util::rt::TokioIo::new(upgraded);
    io.write_all(b"ping").await.expect("written");
    let mut four = [0; 4];
    io.read_exact(&mut four).await.expect("read");
    assert_eq!(&four, b"ping");
}
