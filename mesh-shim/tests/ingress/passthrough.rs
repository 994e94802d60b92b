//! TLS that is ended by the service itself.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use crate::client::{Client, leaf, tls};
use crate::common::Authority;
use crate::common::app::{echo, serving};
use crate::common::authority::Leaf;
use crate::{Edge, named, route, service, to};

/// A TLS server with a certificate of its own, which sends back what it gets.
async fn server(pair: &Leaf) -> SocketAddr {
    let chain = CertificateDer::pem_slice_iter(pair.cert.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(mesh_tower::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    serving(move |io| {
        let acceptor = acceptor.clone();
        async move { echo(acceptor.accept(io).await?).await }
    })
    .await
}

#[tokio::test]
async fn a_passed_name_reaches_the_servers_own_certificate_and_others_do_not() {
    let web = named("web").await;
    let own = Authority::new();
    let pair = own.hosts(&["db.example.com", "x.db.example.com", "www.example.com"]);
    let at = server(&pair).await;
    let tcp = service("db", at).replace(
        "spec: {",
        "spec: { ports: [{ port: 5432, appProtocol: tcp }],",
    );
    let policy = service("web", web.addr) + &tcp + &route("www", &["*.example.com"], &to("web"));
    let flags = [
        "--passthrough",
        "db.example.com=db.shop:5432,*.db.example.com=shop/db:5432,*.example.com=shop/db:5432",
    ];
    let edge = Edge::start(&policy, &flags).await;
    let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
    for name in ["db.example.com", "x.db.example.com"] {
        let mut stream = tls(edge.tls(), Some(name), &own.pem, &[]).await.unwrap();
        assert_eq!(
            stream.get_ref().1.peer_certificates().unwrap()[0].to_vec(),
            leaf(&pair)
        );
        let (mut read, mut write) = tokio::io::split(&mut stream);
        let mut back = Vec::new();
        let writes = async {
            write.write_all(&sent).await?;
            write.shutdown().await
        };
        tokio::try_join!(writes, read.read_to_end(&mut back)).unwrap();
        assert!(back == sent, "{name}");
        println!("{name}: {} bytes there and back", back.len());
    }
    // A certificate with the very name comes before a pattern that is passed on.
    let mut client = Client::secure(edge.tls(), "www.example.com", &edge.public.pem, "h2").await;
    assert_eq!(client.get("www.example.com", "/").await.status, 200);
    // And a request for a passed name does not come in by another's connection.
    assert_eq!(client.get("db.example.com", "/").await.status, 421);
    edge.shim.metric("mesh_tcp_connections_total{direction=\"outbound\",service=\"shop/db\",result=\"opened\"} 2").await;
}
