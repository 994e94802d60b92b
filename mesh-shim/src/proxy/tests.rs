//! The local listeners as an application sees them: bytes in, bytes out, real sockets.
#![allow(clippy::print_stdout, reason = "figures")]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use mesh_tower::Mesh;
use mesh_tower::server::ServerHandle;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::{Outbound, Tunnels};

const PATIENCE: Duration = Duration::from_secs(20);

/// A forward proxy whose mesh knows one service, `reviews.shop`.
struct Proxy {
    addr: SocketAddr,
    tunnels: Arc<Tunnels>,
    mesh: Mesh,
    _server: ServerHandle,
}

async fn proxy(reviews: SocketAddr) -> Proxy {
    let mesh = Mesh::builder("shop/web")
        .namespace("shop")
        .endpoints("reviews", [reviews])
        .build()
        .unwrap();
    let tunnels = Arc::new(Tunnels::default());
    let outbound = Outbound::proxy(&mesh, tunnels.clone(), TaskTracker::new());
    let server = listen(&mesh, outbound);
    Proxy {
        addr: server.local_addr(),
        tunnels,
        mesh,
        _server: server,
    }
}

pub(super) fn listen(mesh: &Mesh, outbound: Outbound) -> ServerHandle {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    outbound.serve(mesh, listener).unwrap()
}

/// A backend that takes one request and answers with these bytes; gives what it was sent.
async fn canned(answer: &'static str) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let taken = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = head(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        request
    });
    (addr, taken)
}

/// Reads to the end of the fields.
pub(super) async fn head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(bytes).unwrap().to_ascii_lowercase()
}

/// Sends `request` as it is, and reads until the proxy closes.
pub(super) async fn ask(proxy: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    answer.to_ascii_lowercase()
}

#[tokio::test]
async fn the_absolute_form_names_the_target_and_hop_fields_stay_here() {
    let (reviews, taken) = canned("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let proxy = proxy(reviews).await;
    let answer = ask(
        proxy.addr,
        "GET http://reviews.shop/7?x=1 HTTP/1.1\r\nHost: elsewhere\r\nConnection: close, x-private\r\n\
         X-Private: 1\r\nKeep-Alive: 5\r\nProxy-Connection: close\r\nX-Kept: 1\r\n\r\n",
    )
    .await;
    assert!(
        answer.starts_with("http/1.1 200") && answer.ends_with("\r\n\r\nhi"),
        "{answer}"
    );
    let request = taken.await.unwrap();
    assert!(request.starts_with("get /7?x=1 http/1.1\r\n"), "{request}");
    assert!(request.contains("\r\nhost: reviews.shop\r\n"), "{request}");
    assert!(request.contains("\r\nx-kept: 1\r\n"), "{request}");
    for field in ["x-private", "keep-alive", "proxy-connection", "elsewhere"] {
        assert!(!request.contains(field), "{field} in {request}");
    }
}

#[tokio::test]
async fn hop_fields_of_an_answer_stay_here_too() {
    let (reviews, _taken) = canned(
        "HTTP/1.1 200 OK\r\nconnection: close, x-internal\r\nx-internal: 1\r\nkeep-alive: 5\r\n\
         x-kept: 1\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let proxy = proxy(reviews).await;
    let answer = ask(
        proxy.addr,
        "GET /7 HTTP/1.1\r\nHost: reviews.shop\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.contains("\r\nx-kept: 1\r\n"), "{answer}");
    assert!(
        !answer.contains("x-internal") && !answer.contains("keep-alive"),
        "{answer}"
    );
}

#[tokio::test]
async fn head_204_and_304_have_no_body_and_keep_their_framing() {
    for (method, answer, kept) in [
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\ncontent-length: 12345\r\n\r\n",
            "content-length: 12345",
        ),
        ("GET", "HTTP/1.1 204 No Content\r\nx-a: 1\r\n\r\n", "x-a: 1"),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n",
            "etag: \"a\"",
        ),
    ] {
        let (reviews, _taken) = canned(answer).await;
        let proxy = proxy(reviews).await;
        let request = format!(
            "{method} http://reviews.shop/ HTTP/1.1\r\nHost: reviews.shop\r\nConnection: close\r\n\r\n"
        );
        let got = ask(proxy.addr, &request).await;
        assert!(got.contains(kept) && got.ends_with("\r\n\r\n"), "{got}");
        assert!(!got.contains("transfer-encoding"), "{got}");
    }
}

#[tokio::test]
async fn a_request_without_one_clear_target_is_refused() {
    let proxy = proxy("127.0.0.1:1".parse().unwrap()).await;
    for request in [
        "GET /7 HTTP/1.0\r\n\r\n",
        "GET /7 HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
        "GET http://u:p@reviews.shop/ HTTP/1.1\r\nHost: reviews.shop\r\nConnection: close\r\n\r\n",
        "GET https://reviews.shop/ HTTP/1.1\r\nHost: reviews.shop\r\nConnection: close\r\n\r\n",
    ] {
        let answer = ask(proxy.addr, request).await;
        assert!(answer.contains(" 400 bad request"), "{request}: {answer}");
    }
}

#[tokio::test]
async fn length_and_chunks_at_once_reach_nobody_as_both() {
    let (reviews, taken) = canned("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let proxy = proxy(reviews).await;
    let answer = ask(
        proxy.addr,
        "POST http://reviews.shop/ HTTP/1.1\r\nHost: reviews.shop\r\nConnection: close\r\n\
         Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    )
    .await;
    if answer.starts_with("http/1.1 200") {
        let request = taken.await.unwrap();
        assert!(!request.contains("content-length: 3"), "{request}");
    } else {
        assert!(answer.starts_with("http/1.1 400"), "{answer}");
    }
}

#[tokio::test]
async fn bodies_stream() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = proxy(listener.local_addr().unwrap()).await;
    let (seen, first_seen) = tokio::sync::oneshot::channel::<()>();
    let backend = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        let start = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n";
        stream.write_all(start.as_bytes()).await.unwrap();
        // The second chunk exists only after the first was received.
        first_seen.await.unwrap();
        stream.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.unwrap();
    });
    let mut stream = TcpStream::connect(proxy.addr).await.unwrap();
    let request =
        "GET http://reviews.shop/ HTTP/1.1\r\nHost: reviews.shop\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    while !got.ends_with(b"one\r\n") {
        got.push(
            tokio::time::timeout(PATIENCE, stream.read_u8())
                .await
                .unwrap()
                .unwrap(),
        );
    }
    seen.send(()).unwrap();
    stream.read_to_end(&mut got).await.unwrap();
    assert!(
        String::from_utf8(got)
            .unwrap()
            .ends_with("3\r\ntwo\r\n0\r\n\r\n")
    );
    backend.await.unwrap();
}

#[tokio::test]
async fn a_tunnel_is_opaque_half_closes_and_is_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut all = Vec::new();
        // Answers only after the other side has shut down its sending half.
        stream.read_to_end(&mut all).await.unwrap();
        all.reverse();
        stream.write_all(&all).await.unwrap();
    });
    let proxy = proxy("127.0.0.1:1".parse().unwrap()).await;
    let mut stream = TcpStream::connect(proxy.addr).await.unwrap();
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    assert!(head(&mut stream).await.starts_with("http/1.1 200"));
    stream.write_all(b"abc").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answer, "cba");
    let metrics = proxy.tunnels.metrics(None);
    assert!(
        metrics.contains("mesh_shim_tunnels_total{result=\"opened\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_tunnel_that_one_side_breaks_off_is_broken_off_for_the_other() {
    for server_breaks in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        let proxy = proxy("127.0.0.1:1".parse().unwrap()).await;
        let mut client = TcpStream::connect(proxy.addr).await.unwrap();
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        assert!(head(&mut client).await.starts_with("http/1.1 200"));
        let mut got = [0; 4];
        server.write_all(b"half").await.unwrap();
        client.read_exact(&mut got).await.unwrap();
        client.write_all(b"half").await.unwrap();
        server.read_exact(&mut got).await.unwrap();
        let (breaks, mut sees) = match server_breaks {
            true => (server, client),
            false => (client, server),
        };
        socket2::SockRef::from(&breaks)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(breaks);
        let ended = tokio::time::timeout(PATIENCE, sees.read(&mut got)).await;
        let ended = ended.expect("it ends");
        println!("the server breaks: {server_breaks}; the other side sees {ended:?}");
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn a_tunnel_to_nowhere_is_refused_with_a_code() {
    let proxy = proxy("127.0.0.1:1".parse().unwrap()).await;
    let answer = ask(
        proxy.addr,
        "CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(
        answer.starts_with("http/1.1 502") && answer.contains("m2010"),
        "{answer}"
    );
    assert!(
        proxy
            .tunnels
            .metrics(None)
            .contains("{result=\"refused\"} 1")
    );
}

#[tokio::test]
async fn an_explicit_port_is_one_service_whatever_the_host_says() {
    let (reviews, taken) = canned("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let proxy = proxy(reviews).await;
    let port = Outbound::port(
        proxy.mesh.client("reviews.shop"),
        Authority::from_static("reviews.shop").try_into().unwrap(),
    );
    let server = listen(&proxy.mesh, port);
    let answer = ask(
        server.local_addr(),
        "GET /7 HTTP/1.1\r\nHost: 127.0.0.1:9001\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    let request = taken.await.unwrap();
    assert!(request.contains("\r\nhost: reviews.shop\r\n"), "{request}");
}

#[tokio::test(start_paused = true)]
async fn part13_protocol_detection_lets_a_local_client_go_that_never_speaks() {
    // Nothing at all, and the first bytes of what could be either version of HTTP.
    for said in ["", "PRI * HT", "GET / HT"] {
        let proxy = proxy("127.0.0.1:1".parse().unwrap()).await;
        let began = tokio::time::Instant::now();
        let mut stream = TcpStream::connect(proxy.addr).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut answer));
        let _ = ended.await.expect("it is let go");
        let held = began.elapsed();
        println!("{said:?} and then silence: held for {held:?}, bound 10 s for each stage");
        assert!(held < Duration::from_secs(21), "{held:?}");
    }
}

#[tokio::test]
async fn part13_protocol_detection_is_never_done_where_the_server_speaks_first() {
    // As SMTP, MySQL and SSH do: the client waits for the greeting.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let database = listener.local_addr().unwrap();
    let greeting = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"220 hello\r\n").await.unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.unwrap();
        said
    });
    let proxy = proxy("127.0.0.1:1".parse().unwrap()).await;
    let mut stream = TcpStream::connect(proxy.addr).await.unwrap();
    let connect = format!("CONNECT {database} HTTP/1.1\r\nHost: {database}\r\n\r\n");
    stream.write_all(connect.as_bytes()).await.unwrap();
    assert!(head(&mut stream).await.starts_with("http/1.1 200"));
    let began = std::time::Instant::now();
    let mut bytes = [0; 11];
    let greeted = tokio::time::timeout(PATIENCE, stream.read_exact(&mut bytes)).await;
    greeted.expect("the greeting comes by itself").unwrap();
    let took = began.elapsed();
    assert_eq!(&bytes, b"220 hello\r\n");
    stream.shutdown().await.unwrap();
    assert_eq!(greeting.await.unwrap(), b"", "the client has said nothing");
    println!("a server that speaks first: its greeting came {took:?} after the tunnel was there");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn a_websocket_passes_through_a_local_port() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = proxy(listener.local_addr().unwrap()).await;
    let backend = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = head(&mut stream).await;
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let mut said = [0; 4];
        stream.read_exact(&mut said).await.unwrap();
        stream.write_all(b"pong").await.unwrap();
        (request, said)
    });
    let mut stream = TcpStream::connect(proxy.addr).await.unwrap();
    let request = "GET http://reviews.shop/feed HTTP/1.1\r\nHost: reviews.shop\r\n\
                   Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = head(&mut stream).await;
    assert!(answer.starts_with("http/1.1 101"), "{answer}");
    assert!(answer.contains("\r\nupgrade: websocket\r\n"), "{answer}");
    stream.write_all(b"ping").await.unwrap();
    let mut answer = [0; 4];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let (request, said) = backend.await.unwrap();
    assert!(request.contains("\r\nupgrade: websocket\r\n"), "{request}");
    assert_eq!((&said, &answer), (b"ping", b"pong"));
}
