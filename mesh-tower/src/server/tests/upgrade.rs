//! Tunnels through a server, with the bytes of both ends in the hands of the test.

use mesh_core::identity::SpiffeId;
use tokio::net::TcpListener;
use tower::service_fn;

use super::secured::{Authority, DOMAIN, secured};
use super::*;
use crate::{
    MeshError,
    server::{ServerHandle, TlsChoice},
    tls::{Alpn, ClientTls, Expect, TrustRoots},
    transport::{EndpointPool, PoolConfig, Protocol, TcpConnect},
    upgrade::{self, Relay},
};

const ASKS: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
                    Upgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
const GIVES: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                     Upgrade: websocket\r\nSec-WebSocket-Accept: a\r\n\r\n";

/// What a raw application saw of one connection, and its end of it.
struct App {
    head: String,
    io: TcpStream,
}

/// Reads a head, byte by byte so that nothing of what follows is taken.
async fn head(io: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    soon("a head", async {
        while !seen.ends_with(b"\r\n\r\n") {
            seen.push(io.read_u8().await.unwrap());
        }
    })
    .await;
    String::from_utf8(seen).unwrap()
}

async fn accept(app: &TcpListener) -> App {
    let (mut io, _) = soon("a connection", app.accept()).await.unwrap();
    let head = head(&mut io).await;
    App { head, io }
}

async fn application() -> (TcpListener, SocketAddr) {
    let app = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = app.local_addr().unwrap();
    (app, addr)
}

/// A proxy as the shim's inbound side is one.
fn proxy(mesh: &Mesh, app: SocketAddr, choice: TlsChoice) -> ServerHandle {
    let config = PoolConfig::new(app).with_protocol(Protocol::Http1);
    let pool = std::sync::Arc::new(EndpointPool::new(
        config,
        std::sync::Arc::new(TcpConnect::new()),
    ));
    let service = service_fn(move |mut request: Request<MeshBody>| {
        let pool = pool.clone();
        async move {
            let relay = Relay::of(&mut request);
            let response = pool.call(request).await?;
            Ok::<_, MeshError>(match relay {
                Some(relay) => relay.join(response),
                None => response,
            })
        }
    });
    let server = mesh.server().tls(choice).bind("127.0.0.1:0").unwrap();
    server.serve(service).unwrap()
}

/// Both ends of a tunnel.
async fn tunnel(server: &ServerHandle, app: &TcpListener) -> (TcpStream, TcpStream) {
    let mut client = TcpStream::connect(server.local_addr()).await.unwrap();
    client.write_all(ASKS.as_bytes()).await.unwrap();
    let mut app = accept(app).await;
    app.io.write_all(GIVES.as_bytes()).await.unwrap();
    let answer = head(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    (client, app.io)
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    soon(what, async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

async fn says(from: &mut TcpStream, to: &mut TcpStream, what: &[u8]) {
    from.write_all(what).await.unwrap();
    let mut got = vec![0; what.len()];
    soon("the bytes", to.read_exact(&mut got)).await.unwrap();
    assert_eq!(got, what);
}

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways_and_each_half_ends_by_itself() {
    let (app, addr) = application().await;
    let mesh = mesh();
    let server = proxy(&mesh, addr, TlsChoice::Disabled);
    let mut client = TcpStream::connect(server.local_addr()).await.unwrap();
    // What follows the head belongs to the tunnel, and waits for it.
    client
        .write_all(format!("{ASKS}early").as_bytes())
        .await
        .unwrap();
    let App { head: seen, mut io } = accept(&app).await;
    let seen = seen.to_ascii_lowercase();
    assert!(seen.contains("connection: upgrade\r\n"), "{seen}");
    assert!(seen.contains("upgrade: websocket\r\n"), "{seen}");
    assert!(seen.contains("sec-websocket-key: k\r\n"), "{seen}");
    io.write_all(format!("{GIVES}first").as_bytes())
        .await
        .unwrap();
    let answer = head(&mut client).await.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101"), "{answer}");
    assert!(answer.contains("connection: upgrade\r\n"), "{answer}");
    assert!(answer.contains("sec-websocket-accept: a\r\n"), "{answer}");
    let mut got = [0; 5];
    client.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"first");
    io.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"early");

    let tunnels = "mesh_tunnels{direction=\"inbound\",service=\"shop/reviews\"}";
    assert!(mesh.recorder().render().contains(&format!("{tunnels} 1")));

    // The application has said all that it will say; the client has not.
    io.shutdown().await.unwrap();
    let mut rest = Vec::new();
    soon("the end of one half", client.read_to_end(&mut rest))
        .await
        .unwrap();
    assert_eq!(rest, b"");
    for _ in 0..3 {
        says(&mut client, &mut io, b"still there").await;
    }
    client.shutdown().await.unwrap();
    soon("the end of the other", io.read_to_end(&mut rest))
        .await
        .unwrap();
    assert_eq!(rest, b"");
    until("the tunnel is over", || {
        mesh.recorder().render().contains(&format!("{tunnels} 0"))
    })
    .await;
    until("its connection too", || server.connections() == 0).await;
    let metrics = mesh.recorder().render();
    assert!(metrics.contains("status=\"101\""), "{metrics}");
}

#[tokio::test]
async fn a_reader_that_stalls_bounds_what_a_tunnel_holds() {
    let (app, addr) = application().await;
    let mesh = mesh();
    let server = proxy(&mesh, addr, TlsChoice::Disabled);
    let (mut client, io) = tunnel(&server, &app).await;
    let chunk = vec![7; 64 * 1024];
    let mut taken = 0;
    // Until a write has nowhere to go for a while: the sockets' buffers are full.
    while let Ok(written) =
        tokio::time::timeout(Duration::from_millis(500), client.write(&chunk)).await
    {
        taken += written.unwrap();
        assert!(taken < 64 << 20, "nothing holds it back");
    }
    println!(
        "a tunnel took {} KiB from a sender without a reader",
        taken / 1024
    );
    drop(io);
}

#[tokio::test]
async fn what_would_carry_requests_past_the_policy_is_not_asked_for() {
    let (app, addr) = application().await;
    let mesh = mesh();
    let server = proxy(&mesh, addr, TlsChoice::Disabled);
    for (line, version) in [
        ("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n", "1.1"),
        ("Upgrade: TLS/1.0\r\n", "1.1"),
        ("Upgrade: HTTP/2.0\r\n", "1.1"),
        ("Upgrade: websocket\r\nContent-Length: 1\r\n", "1.1"),
        ("Upgrade: websocket\r\n", "1.0"),
    ] {
        let mut client = TcpStream::connect(server.local_addr()).await.unwrap();
        let sent = format!("GET / HTTP/{version}\r\nHost: a\r\nConnection: Upgrade\r\n{line}\r\nx");
        client.write_all(sent.as_bytes()).await.unwrap();
        let App { head: seen, mut io } = accept(&app).await;
        assert!(!seen.to_ascii_lowercase().contains("upgrade"), "{seen}");
        assert!(!seen.to_ascii_lowercase().contains("http2"), "{seen}");
        io.write_all(GIVES.as_bytes()).await.unwrap();
        let answer = head(&mut client).await;
        assert!(answer.contains(" 502 "), "{line}: {answer}");
    }
}

#[tokio::test]
async fn an_answer_that_switches_to_something_else_is_not_passed_on() {
    let (app, addr) = application().await;
    let mesh = mesh();
    let server = proxy(&mesh, addr, TlsChoice::Disabled);
    for gives in ["Upgrade: h2c\r\n", "Upgrade: websocket, h2c\r\n", ""] {
        let mut client = TcpStream::connect(server.local_addr()).await.unwrap();
        client.write_all(ASKS.as_bytes()).await.unwrap();
        let mut app = accept(&app).await;
        let given = format!("HTTP/1.1 101 S\r\nConnection: upgrade\r\n{gives}\r\n");
        app.io.write_all(given.as_bytes()).await.unwrap();
        let answer = head(&mut client).await;
        assert!(answer.contains(" 502 "), "{gives}: {answer}");
    }
    // No tunnel at all is the application's right.
    let mut client = TcpStream::connect(server.local_addr()).await.unwrap();
    client.write_all(ASKS.as_bytes()).await.unwrap();
    let mut app = accept(&app).await;
    let given = b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno";
    app.io.write_all(given).await.unwrap();
    let answer = head(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 426"), "{answer}");
}

#[tokio::test]
async fn a_tunnel_ends_with_the_time_to_drain_and_not_before() {
    let (app, addr) = application().await;
    let mesh = mesh();
    mesh.drain().set_timing(Timing {
        unready: Duration::ZERO,
        in_flight: Duration::from_millis(600),
    });
    let server = proxy(&mesh, addr, TlsChoice::Disabled);
    let (mut client, mut io) = tunnel(&server, &app).await;
    let began = std::time::Instant::now();
    mesh.drain().start();
    until("nobody is let in any more", || {
        std::net::TcpStream::connect(server.local_addr()).is_err()
    })
    .await;
    says(&mut client, &mut io, b"goes on").await;
    let mut rest = Vec::new();
    let ended = soon("its end", client.read_to_end(&mut rest)).await;
    let took = began.elapsed();
    println!("drained after {took:?}: {ended:?}");
    assert!(took >= Duration::from_millis(600), "{took:?}");
    soon("the application's end", io.read_to_end(&mut rest))
        .await
        .ok();
    soon("the server's end", server.done()).await;
}

#[tokio::test]
async fn a_tunnel_ends_when_its_peers_trust_is_revoked() {
    let (app, addr) = application().await;
    let authority = Authority::new();
    let mesh = secured(&authority);
    let server = proxy(&mesh, addr, TlsChoice::Strict);
    let id = SpiffeId::parse(&format!("spiffe://{DOMAIN}/ns/shop/sa/reviews")).unwrap();
    let tls = ClientTls::new(&authority.credentials("web"));
    let config = PoolConfig::new(server.local_addr()).with_tls(tls.clone(), Expect::Id(id.clone()));
    let pool = EndpointPool::new(config, std::sync::Arc::new(TcpConnect::new()));
    let mut request = Request::get("/chat").body(MeshBody::empty()).unwrap();
    let fields = request.headers_mut();
    fields.insert("connection", "upgrade".parse().unwrap());
    fields.insert("upgrade", "websocket".parse().unwrap());
    let (answer, mut io) = tokio::join!(pool.call(request), async {
        let mut app = accept(&app).await;
        app.io.write_all(GIVES.as_bytes()).await.unwrap();
        app.io
    });
    assert_eq!(pool.stats().open, 1);
    let mut tunnel = upgrade::on(answer.unwrap()).await.unwrap();
    assert_eq!(pool.stats().open, 1);
    tunnel.write_all(b"hello").await.unwrap();
    tunnel.flush().await.unwrap();
    let mut got = [0; 5];
    soon("hello", io.read_exact(&mut got)).await.unwrap();

    // The same mesh over h2, so that the pool has shared connections too.
    let other = Alpn::Both;
    let tcp = TcpStream::connect(server.local_addr()).await.unwrap();
    let connected = tls
        .connect(
            Box::new(tcp),
            server.local_addr().ip(),
            &Expect::Id(id),
            other,
        )
        .await
        .unwrap();
    assert!(connected.h2);

    mesh.credentials().set_trust(TrustRoots::default());
    let mut rest = Vec::new();
    let ended = soon("its end", tunnel.read_to_end(&mut rest)).await;
    println!("revoked: {ended:?}");
    soon("the application's end", io.read_to_end(&mut rest))
        .await
        .ok();
    drop(tunnel);
    until("the pool has let go of it", || pool.stats().open == 0).await;
}

#[tokio::test]
async fn what_one_side_of_a_tunnel_breaks_off_is_broken_off_for_the_other() {
    for application_breaks in [true, false] {
        let (app, addr) = application().await;
        let mesh = mesh();
        let server = proxy(&mesh, addr, TlsChoice::Disabled);
        let mut client = TcpStream::connect(server.local_addr()).await.unwrap();
        client.write_all(ASKS.as_bytes()).await.unwrap();
        let App { mut io, .. } = accept(&app).await;
        io.write_all(GIVES.as_bytes()).await.unwrap();
        head(&mut client).await;
        // A part of something larger, in each direction.
        says(&mut io, &mut client, b"the first half").await;
        says(&mut client, &mut io, b"the first half").await;
        let (breaks, mut sees) = match application_breaks {
            true => (io, client),
            false => (client, io),
        };
        socket2::SockRef::from(&breaks)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(breaks);
        let mut rest = Vec::new();
        let ended = soon("the end", sees.read_to_end(&mut rest)).await;
        println!("the application breaks: {application_breaks}; the other side sees {ended:?}");
        assert_eq!(
            ended.unwrap_err().kind(),
            std::io::ErrorKind::ConnectionReset
        );
    }
}
