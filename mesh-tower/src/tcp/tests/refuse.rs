//! Who is not let in, and how that is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use mesh_core::error::ErrorKind;
use mesh_core::identity::SpiffeId;

use super::*;
use crate::body::MeshBody;
use crate::tls::{Alpn, ClientTls, Expect};

fn access(mode: &str, allow: &str) -> String {
    format!(
        "apiVersion: policy.mesh/v1alpha1\nkind: AccessPolicy\n\
         metadata: {{ name: redis, namespace: shop }}\n\
         spec: {{ targetRefs: [{{ kind: Service, name: redis }}], mode: {mode}, allow: [{allow}] }}\n"
    )
}

/// An application that counts its connections.
async fn counted() -> (SocketAddr, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let sees = seen.clone();
    let addr = app(move |mut io| {
        sees.fetch_add(1, SeqCst);
        async move {
            let mut byte = [0];
            while io.read_exact(&mut byte).await.is_ok() {
                io.write_all(&byte).await.unwrap();
            }
        }
    })
    .await;
    (addr, seen)
}

#[tokio::test]
async fn the_access_policy_decides_by_the_peers_identity_alone() {
    let authority = Authority::new();
    let (server, client) = (mesh(&authority, "redis"), mesh(&authority, "web"));
    let (app, seen) = counted().await;
    let handle = serve(&server, app);
    apply(&client, &redis(&[handle.local_addr()], true));
    let mut tcp = client.tcp("redis:6379");

    for (allow, let_in) in [
        ("{ from: [{ service: other }] }", false),
        // A rule about requests says nothing of bytes.
        (
            "{ from: [{ service: web }], to: [{ methods: [GET] }] }",
            false,
        ),
        ("{ from: [{ service: web }] }", true),
    ] {
        apply(&server, &access("Enforce", allow));
        let before = seen.load(SeqCst);
        match tcp.connect().await {
            Ok(mut io) => {
                assert!(let_in, "{allow}");
                io.write_all(b"x").await.unwrap();
                let mut byte = [0];
                soon("the echo", io.read_exact(&mut byte)).await.unwrap();
            }
            Err(error) => {
                assert!(!let_in, "{allow}: {error}");
                assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
                assert!(error.to_string().ends_with("[M4001]"), "{error}");
                // One attempt: every endpoint has the same policy.
                assert_eq!(error.attempts().len(), 1);
            }
        }
        assert_eq!(seen.load(SeqCst) - before, usize::from(let_in), "{allow}");
    }
    let text = server.metrics_text();
    let denied = "direction=\"inbound\",service=\"shop/redis\",result=\"denied\"} 2";
    assert!(text.contains(denied), "{text}");
    // Denied is no fault of the endpoint.
    let report = client.report();
    let health = report.endpoints[0].state;
    assert_eq!(health, mesh_core::report::EndpointHealth::Available);
}

#[tokio::test]
async fn revoked_access_and_revoked_trust_cut_what_is_open() {
    let authority = Authority::new();
    let (server, client) = (mesh(&authority, "redis"), mesh(&authority, "web"));
    let handle = serve(&server, echo().await);
    apply(&server, &access("Enforce", "{ from: [{ service: web }] }"));
    apply(&client, &redis(&[handle.local_addr()], true));
    let local = listen(&client).await;
    let open = async || {
        let mut io = TcpStream::connect(local).await.unwrap();
        io.write_all(b"x").await.unwrap();
        let mut byte = [0];
        soon("the echo", io.read_exact(&mut byte)).await.unwrap();
        io
    };

    let mut io = open().await;
    apply(
        &server,
        &access(
            "Enforce",
            "{ from: [{ service: web }], to: [{ paths: [/x] }] }",
        ),
    );
    let mut byte = [0];
    assert!(soon("the cut", io.read(&mut byte)).await.is_err());

    // The server's roots go: its side cuts.
    apply(&server, &access("Enforce", "{ from: [{ service: web }] }"));
    let mut io = open().await;
    let other = Authority::new().roots("elsewhere");
    server.credentials().set_trust(other);
    assert!(soon("the server's cut", io.read(&mut byte)).await.is_err());

    // The client's roots go: its side cuts.
    server
        .credentials()
        .set_trust(authority.roots("mesh.local"));
    let mut io = open().await;
    let other = Authority::new().roots("elsewhere");
    client.credentials().set_trust(other);
    assert!(soon("the client's cut", io.read(&mut byte)).await.is_err());
}

#[tokio::test]
async fn a_port_of_requests_takes_no_bytes_and_the_reverse() {
    let authority = Authority::new();
    let (server, client) = (mesh(&authority, "redis"), mesh(&authority, "web"));
    let http = server
        .server()
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(tower::service_fn(async |_: http::Request<MeshBody>| {
            Ok::<_, std::convert::Infallible>(http::Response::new(MeshBody::full("hello")))
        }))
        .unwrap();
    apply(&client, &redis(&[http.local_addr()], true));
    let error = client.tcp("redis:6379").connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");

    let (app, seen) = counted().await;
    let bytes = serve(&server, app);
    let addr = bytes.local_addr();
    let expect = || Expect::Id(SpiffeId::parse(&id("redis")).unwrap());
    let tls = ClientTls::new(client.credentials());
    for alpn in [Alpn::Http1, Alpn::Http2, Alpn::Both] {
        let io = TcpStream::connect(addr).await.unwrap();
        let made = tls.connect(Box::new(io), addr.ip(), &expect(), alpn).await;
        assert!(made.is_err(), "{alpn:?}");
    }
    assert_eq!(seen.load(SeqCst), 0);

    // A request to a port that the policy says is one of bytes.
    apply(&client, &redis(&[addr], true));
    let request = http::Request::get("/").body(MeshBody::empty()).unwrap();
    let mut requests = client.client("redis:6379");
    let error = tower::ServiceExt::oneshot(&mut requests, request)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    assert!(error.to_string().contains("appProtocol: tcp"), "{error}");
}

#[tokio::test]
async fn a_health_check_asks_for_the_application_too() {
    let authority = Authority::new();
    let (server, client) = (mesh(&authority, "redis"), mesh(&authority, "web"));
    let (_keep, dead) = closed();
    let (without, with) = (serve(&server, dead), serve(&server, echo().await));
    let policy = redis(&[without.local_addr(), with.local_addr()], true);
    apply(
        &client,
        &format!(
            "{policy}---\napiVersion: policy.mesh/v1alpha1\nkind: BackendPolicy\n\
             metadata: {{ name: checks, namespace: shop }}\n\
             spec: {{ targetRefs: [{{ kind: Service, name: redis }}], \
             healthCheck: {{ tcp: {{}}, interval: 100ms }} }}\n"
        ),
    );
    let _asked = client.tcp("redis:6379");
    let unhealthy = mesh_core::report::EndpointHealth::Unhealthy;
    until("the check of the dead one fails", || {
        let endpoints = client.report().endpoints;
        endpoints
            .iter()
            .any(|one| one.addr == without.local_addr() && one.state == unhealthy)
            && endpoints
                .iter()
                .any(|one| one.addr == with.local_addr() && one.state != unhealthy)
    })
    .await;
}

#[tokio::test]
async fn plaintext_is_refused_unless_the_policy_takes_it() {
    let authority = Authority::new();
    let server = mesh(&authority, "redis");
    let handle = serve(&server, echo().await);
    let addr = handle.local_addr();
    assert!(ask(addr, b"PING").await.map_or(true, |all| all.is_empty()));
    apply(
        &server,
        "apiVersion: policy.mesh/v1alpha1\nkind: TransportPolicy\n\
         metadata: { name: redis, namespace: shop }\n\
         spec: { targetRefs: [{ kind: Service, name: redis }], mtls: Permissive }\n",
    );
    assert_eq!(ask(addr, b"PING").await.unwrap(), b"PING");
}
