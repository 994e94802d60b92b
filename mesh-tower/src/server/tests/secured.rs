use std::sync::Arc;

use mesh_core::{
    identity::SpiffeId,
    policy::{
        store::Layer,
        text::{Source, load},
    },
    report::Report,
};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use tokio::sync::mpsc;
use tower::service_fn;

use super::*;
use crate::{
    context,
    server::{ServerHandle, TlsChoice},
    tls::testing::connect_tls12,
    tls::{Alpn, ClientTls, Credentials, Expect, Identity, TrustRoots},
    transport::BoxIo,
};

pub(super) const DOMAIN: &str = "mesh.test";

/// A certificate authority for one test.
pub(super) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    fn roots(&self) -> TrustRoots {
        TrustRoots::from_pem([(DOMAIN, self.pem.as_bytes())]).unwrap()
    }

    pub(super) fn credentials(&self, service: &str) -> Credentials {
        let key = KeyPair::generate().unwrap();
        let id = format!("spiffe://{DOMAIN}/ns/shop/sa/{service}");
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let credentials = Credentials::new();
        credentials.set_identity(Identity::from_pem(leaf.pem(), key.serialize_pem()).unwrap());
        credentials.set_trust(self.roots());
        credentials
    }
}

pub(super) fn secured(authority: &Authority) -> Mesh {
    let credentials = authority.credentials("reviews");
    built(
        Mesh::builder("reviews")
            .namespace("shop")
            .credentials(credentials),
    )
}

pub(super) async fn connect(
    addr: SocketAddr,
    credentials: &Credentials,
) -> Result<BoxIo, MeshErrorText> {
    let io = TcpStream::connect(addr).await.unwrap();
    let id = SpiffeId::parse(&format!("spiffe://{DOMAIN}/ns/shop/sa/reviews")).unwrap();
    let connected = ClientTls::new(credentials)
        .connect(Box::new(io), addr.ip(), &Expect::Id(id), Alpn::Http2)
        .await
        .map_err(|error| error.to_string())?;
    Ok(connected.io)
}

pub(super) type MeshErrorText = String;

pub(super) async fn h2(addr: SocketAddr, credentials: &Credentials) -> Client2 {
    let io = connect(addr, credentials).await.unwrap();
    let (client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io))
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

/// Answers with the peer's identity.
async fn whoami(_: Request<MeshBody>) -> Result<Response<MeshBody>, Infallible> {
    let peer = context::current().and_then(|context| context.peer);
    let text = peer.map_or("nobody".to_owned(), |peer| peer.as_str().to_owned());
    Ok(Response::new(MeshBody::full(text)))
}

pub(super) fn start(mesh: &Mesh) -> ServerHandle {
    mesh.server()
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(service_fn(whoami))
        .unwrap()
}

pub(super) fn apply(mesh: &Mesh, text: &str) {
    let loaded = load(&[Source {
        name: "test.yaml".into(),
        text: text.into(),
    }]);
    mesh.store().apply(Layer::Code, loaded.resources).unwrap();
}

pub(super) fn request() -> Request<Full<Bytes>> {
    empty(Request::get("http://reviews.shop/x"))
}

#[tokio::test]
async fn with_an_identity_a_server_is_strict_and_knows_its_peer() {
    let authority = Authority::new();
    let mesh = secured(&authority);
    let server = start(&mesh);
    let mut client = h2(server.local_addr(), &authority.credentials("web")).await;
    let answer = client.send_request(request()).await.unwrap();
    assert_eq!(
        text(answer).await,
        format!("spiffe://{DOMAIN}/ns/shop/sa/web")
    );

    let plain = raw(server.local_addr(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(!plain.starts_with("HTTP"), "{plain}");
    // Refused, but named: somebody believes that it may call.
    let named = mesh.report().plaintext_sources;
    assert_eq!((named[0].connections, named[0].calls), (1, 0), "{named:?}");
    let metrics = mesh.recorder().render();
    assert!(
        metrics.contains("{direction=\"inbound\",result=\"ok\"} 1"),
        "{metrics}"
    );
    assert!(metrics.contains("from=\"shop/web\""), "{metrics}");
}

#[tokio::test]
async fn permissive_takes_both_on_one_port_and_counts_plaintext() {
    let authority = Authority::new();
    let mesh = secured(&authority);
    let server = mesh
        .server()
        .tls(TlsChoice::Permissive)
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(service_fn(whoami))
        .unwrap();
    let mut client = h2(server.local_addr(), &authority.credentials("web")).await;
    let answer = client.send_request(request()).await.unwrap();
    assert!(text(answer).await.ends_with("/web"));
    let mut plain = client1(server.local_addr()).await;
    let answer = plain.send_request(empty(get("/"))).await.unwrap();
    assert_eq!(text(answer).await, "nobody");
    assert_eq!(mesh.report().plaintext_peers, 1);
}

#[tokio::test]
async fn a_peer_of_another_authority_is_refused() {
    let mesh = secured(&Authority::new());
    let server = start(&mesh);
    let stranger = Authority::new();
    let credentials = stranger.credentials("web");
    // It refuses us as we refuse it; either side is enough.
    let refused = match connect(server.local_addr(), &credentials).await {
        Err(_) => true,
        Ok(io) => {
            match http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(io))
                .await
            {
                Err(_) => true,
                Ok((mut client, connection)) => {
                    tokio::spawn(connection);
                    client.send_request(request()).await.is_err()
                }
            }
        }
    };
    assert!(refused);
    soon("the failure is counted", async {
        while !mesh
            .recorder()
            .render()
            .contains("{direction=\"inbound\",result=\"failed\"} 1")
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn access_is_by_identity_and_reported_by_peer() {
    let authority = Authority::new();
    let mesh = secured(&authority);
    apply(
        &mesh,
        "service: shop/reviews\naccess: { mode: Enforce, allow: [{ from: web }] }\n",
    );
    let server = start(&mesh);
    let mut web = h2(server.local_addr(), &authority.credentials("web")).await;
    assert_eq!(web.send_request(request()).await.unwrap().status(), 200);
    let mut thief = h2(server.local_addr(), &authority.credentials("thief")).await;
    let denied = thief.send_request(request()).await.unwrap();
    assert_eq!(denied.status(), 403);
    assert_eq!(denied.headers()["mesh-reason"], "M4001");
    assert_eq!(text(denied).await, "denied [M4001]\n");

    let report: Report = mesh.report();
    let rows: Vec<_> = report
        .inbound
        .iter()
        .map(|r| (r.from.as_str(), r.calls, r.denied))
        .collect();
    let id = |name: &str| format!("spiffe://{DOMAIN}/ns/shop/sa/{name}");
    assert_eq!(
        rows,
        [(id("thief").as_str(), 1, 1), (id("web").as_str(), 1, 0)]
    );
}

#[tokio::test]
async fn withdrawn_trust_cuts_live_connections() {
    let authority = Authority::new();
    let mesh = secured(&authority);
    let server = start(&mesh);
    let mut client = h2(server.local_addr(), &authority.credentials("web")).await;
    assert_eq!(client.send_request(request()).await.unwrap().status(), 200);
    // A renewed identity under the same roots touches nobody.
    mesh.credentials().set_trust(authority.roots());
    assert_eq!(client.send_request(request()).await.unwrap().status(), 200);

    mesh.credentials().set_trust(TrustRoots::new());
    soon("the connection is cut", async {
        while server.connections() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_whose_right_is_withdrawn_is_cut() {
    let authority = Authority::new();
    let mesh = secured(&authority);
    apply(
        &mesh,
        "service: shop/reviews\naccess: { mode: Enforce, allow: [{ from: web }] }\n",
    );
    let (send, receive) = mpsc::channel::<Bytes>(1);
    let receive = Arc::new(std::sync::Mutex::new(Some(receive)));
    let service = service_fn(move |_: Request<MeshBody>| {
        let receive = receive.lock().unwrap().take();
        async move {
            let frames = futures_util::stream::unfold(receive.unwrap(), |mut receive| async {
                let data = receive.recv().await?;
                Some((Ok::<_, Infallible>(http_body::Frame::data(data)), receive))
            });
            let body = MeshBody::new(http_body_util::StreamBody::new(frames));
            let answer = Response::builder().header("content-type", "application/grpc");
            Ok::<_, Infallible>(answer.body(body).unwrap())
        }
    });
    let server = mesh
        .server()
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(service)
        .unwrap();
    let mut client = h2(server.local_addr(), &authority.credentials("web")).await;
    let watch = Request::post("http://reviews.shop/shop.Reviews/Watch")
        .header("content-type", "application/grpc");
    let answer = client.send_request(empty(watch)).await.unwrap();
    send.send(Bytes::from_static(b"one")).await.unwrap();
    let mut body = answer.into_body();
    let frame = soon("the first frame", body.frame())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(frame.into_data().unwrap(), "one");

    // Other peers keep theirs; `web` may only read the list from now on.
    apply(
        &mesh,
        "service: shop/reviews\naccess: { mode: Enforce, allow: [{ from: web, paths: [/list] }] }\n",
    );
    send.send(Bytes::from_static(b"two")).await.unwrap();
    let frame = soon("the end", body.frame()).await.unwrap().unwrap();
    assert_eq!(frame.into_trailers().unwrap()["grpc-status"], "7");
}

#[tokio::test]
async fn a_peer_that_may_do_nothing_any_more_loses_its_connection() {
    let authority = Authority::new();
    let mesh = secured(&authority);
    let server = start(&mesh);
    let mut client = h2(server.local_addr(), &authority.credentials("web")).await;
    assert_eq!(client.send_request(request()).await.unwrap().status(), 200);
    apply(
        &mesh,
        "service: shop/reviews\naccess: { mode: Enforce, allow: [{ from: other }] }\n",
    );
    soon("the connection ends", async {
        while server.connections() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_least_version_of_tls_is_the_policys_and_counts_for_new_handshakes() {
    let authority = Authority::new();
    let mesh = secured(&authority);
    let server = start(&mesh);
    let addr = server.local_addr();
    let web = authority.credentials("web");
    let old = async || {
        let io = TcpStream::connect(addr).await.unwrap();
        connect_tls12(&web, Box::new(io)).await
    };
    let least = |version: &str| {
        let text = format!("service: shop/reviews\ntransport: {{ minTlsVersion: {version} }}\n");
        apply(&mesh, &text);
    };

    let io = old().await.expect("nothing is said: 1.2 will do");
    let (mut live, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io))
        .await
        .unwrap();
    tokio::spawn(connection);
    let answer = live.send_request(request()).await.unwrap();
    assert!(text(answer).await.ends_with("/web"));

    least("1.3");
    let refused = old().await.err().expect("1.3 is the least");
    assert!(refused.to_string().contains("ProtocolVersion"), "{refused}");
    let mut new = h2(addr, &web).await;
    assert_eq!(new.send_request(request()).await.unwrap().status(), 200);
    // What was accepted before stays.
    assert_eq!(live.send_request(request()).await.unwrap().status(), 200);

    least("1.2");
    old().await.expect("1.2 will do again");
}

#[tokio::test]
async fn criticality_travels_two_hops_between_proven_peers_over_http_and_grpc() {
    use mesh_core::{balance::EndpointInfo, context::Criticality, name::ServiceName};
    use tower::ServiceExt;

    let authority = Authority::new();
    // `ratings` remembers how much each request mattered, as its handler sees it.
    let below = built(
        Mesh::builder("ratings")
            .namespace("shop")
            .credentials(authority.credentials("ratings")),
    );
    let (send, mut seen) = mpsc::unbounded_channel();
    let ratings = below
        .server()
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(service_fn(move |request: Request<MeshBody>| {
            let context = context::current().unwrap();
            let grpc = request.headers().contains_key("content-type");
            let peer = context.peer.unwrap().as_str().to_owned();
            send.send((peer, grpc, context.criticality)).unwrap();
            echo(request)
        }))
        .unwrap();

    let middle = secured(&authority);
    let mut endpoint = EndpointInfo::new(ratings.local_addr());
    let id = format!("spiffe://{DOMAIN}/ns/shop/sa/ratings");
    endpoint.identity = Some(SpiffeId::parse(&id).unwrap());
    let name = ServiceName::new("shop", "ratings").unwrap();
    let client = middle.client("ratings");
    middle.feed().endpoints(&name, Some(vec![endpoint]));
    let reviews = middle
        .server()
        .bind("127.0.0.1:0")
        .unwrap()
        .serve(service_fn(move |request: Request<MeshBody>| {
            let mut call = Request::new(MeshBody::empty());
            if let Some(kind) = request.headers().get("content-type") {
                call.headers_mut().insert("content-type", kind.clone());
            }
            client.clone().oneshot(call)
        }))
        .unwrap();

    let mut web = h2(reviews.local_addr(), &authority.credentials("web")).await;
    for (kind, level) in [
        (None, "sheddable"),
        (Some("application/grpc"), "critical-plus"),
    ] {
        let mut request = Request::get("http://reviews.shop/x").header("x-mesh-criticality", level);
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let answer = soon("an answer", web.send_request(empty(request))).await;
        assert_eq!(answer.unwrap().status(), 200);
        let (peer, grpc, seen) = soon("ratings is called", seen.recv()).await.unwrap();
        assert!(peer.ends_with("/reviews"));
        assert_eq!(grpc, kind.is_some());
        assert_eq!(seen, level.parse::<Criticality>().unwrap());
    }
}
