//! A client outside the mesh: TLS by a public authority, then HTTP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::common::PATIENCE;
use crate::common::authority::Leaf;

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// A connection on which requests are made one after another.
pub(crate) enum Client {
    One(http1::SendRequest<Empty<Bytes>>),
    Two(http2::SendRequest<Empty<Bytes>>),
}

/// A handshake as a client with `roots` makes it. Without a name there is no SNI, and any certificate
/// is looked at by an address.
pub(crate) async fn tls(
    addr: SocketAddr,
    name: Option<&str>,
    roots: &str,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut store = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(roots.as_bytes()).unwrap();
    store.add(root).unwrap();
    let mut config = ClientConfig::builder_with_provider(mesh_tower::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|text| text.as_bytes().to_vec()).collect();
    let name = match name {
        Some(name) => ServerName::try_from(name.to_owned()).unwrap(),
        None => ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    };
    let io = TcpStream::connect(addr).await?;
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, io);
    tokio::time::timeout(PATIENCE, connecting).await.unwrap()
}

/// The certificate that a name is shown.
pub(crate) async fn shown(addr: SocketAddr, name: &str, roots: &str) -> std::io::Result<Vec<u8>> {
    let stream = tls(addr, Some(name), roots, &["http/1.1"]).await?;
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    Ok(chain[0].to_vec())
}

/// The leaf of a pair.
pub(crate) fn leaf(pair: &Leaf) -> Vec<u8> {
    let leaf = CertificateDer::from_pem_slice(pair.cert.as_bytes());
    leaf.unwrap().to_vec()
}

impl Client {
    pub(crate) async fn secure(addr: SocketAddr, name: &str, roots: &str, alpn: &str) -> Self {
        let stream = tls(addr, Some(name), roots, &[alpn]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn.as_bytes()));
        let io = TokioIo::new(stream);
        if alpn == "h2" {
            let builder = http2::Builder::new(TokioExecutor::new());
            let (send, connection) = builder.handshake(io).await.unwrap();
            tokio::spawn(connection);
            return Self::Two(send);
        }
        let (send, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        Self::One(send)
    }

    pub(crate) async fn plaintext(addr: SocketAddr) -> Self {
        Self::plaintext_from("127.0.0.1", addr).await
    }

    /// From an address of this machine.
    pub(crate) async fn plaintext_from(from: &str, addr: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket
            .bind(SocketAddr::new(from.parse().unwrap(), 0))
            .unwrap();
        let io = TokioIo::new(socket.connect(addr).await.unwrap());
        let (send, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        Self::One(send)
    }

    pub(crate) async fn get(&mut self, host: &str, path: &str) -> Answer {
        self.send(host, path, &[]).await
    }

    pub(crate) async fn send(&mut self, host: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let builder = match self {
            Self::One(_) => Request::get(path).header("host", host),
            Self::Two(_) => Request::get(format!("https://{host}{path}")),
        };
        let builder = fields.iter().fold(builder, |builder, (name, value)| {
            builder.header(*name, *value)
        });
        let request = builder.body(Empty::new()).unwrap();
        let answered = async {
            let response = match self {
                Self::One(send) => {
                    send.ready().await.unwrap();
                    send.send_request(request).await.unwrap()
                }
                Self::Two(send) => send.send_request(request).await.unwrap(),
            };
            let (head, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Answer {
                status: head.status,
                headers: head.headers,
                body: String::from_utf8_lossy(&body).into_owned(),
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.unwrap()
    }
}
