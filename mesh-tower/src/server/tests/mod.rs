//! The server on loopback: real sockets, port 0.

mod boundary;
mod chain;
mod detection;
mod drain;
mod exceptions;
mod ingress;
mod limits;
mod load;
mod requests;
mod secured;
mod stack;
mod upgrade;
mod uploads;

use std::{convert::Infallible, future::Future, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    body::MeshBody,
    drain::Timing,
    mesh::{Mesh, MeshBuilder},
};

/// Nothing in these tests takes this long unless it hangs.
const HANGS: Duration = Duration::from_secs(20);

pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(HANGS, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: nothing happened within {HANGS:?}"),
    }
}

pub(super) fn built(builder: MeshBuilder) -> Mesh {
    let mesh = builder.build().unwrap();
    mesh.drain().set_timing(Timing {
        unready: Duration::ZERO,
        in_flight: Duration::from_secs(10),
    });
    mesh
}

pub(super) fn mesh() -> Mesh {
    built(Mesh::builder("reviews").namespace("shop"))
}

/// Answers with its method, its path and one header.
pub(super) async fn echo(request: Request<MeshBody>) -> Result<Response<MeshBody>, Infallible> {
    let probe = request
        .headers()
        .get("x-probe")
        .map(|v| format!("{v:?}"))
        .unwrap_or_default();
    let text = format!("{} {} {probe}", request.method(), request.uri().path());
    Ok(Response::new(MeshBody::full(text)))
}

pub(super) type Client1 = http1::SendRequest<Full<Bytes>>;
pub(super) type Client2 = http2::SendRequest<Full<Bytes>>;

pub(super) async fn client1(addr: SocketAddr) -> Client1 {
    let io = TcpStream::connect(addr).await.unwrap();
    let (client, connection) = http1::handshake(TokioIo::new(io)).await.unwrap();
    tokio::spawn(connection);
    client
}

pub(super) async fn client2(addr: SocketAddr) -> Client2 {
    let io = TcpStream::connect(addr).await.unwrap();
    let (client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io))
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

pub(super) fn get(path: &str) -> http::request::Builder {
    Request::get(path).header("host", "reviews.shop")
}

pub(super) fn empty(builder: http::request::Builder) -> Request<Full<Bytes>> {
    builder.body(Full::default()).unwrap()
}

pub(super) async fn text(response: Response<hyper::body::Incoming>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Sends bytes and reads until the server closes.
pub(super) async fn raw(addr: SocketAddr, sent: &str) -> String {
    let mut io = TcpStream::connect(addr).await.unwrap();
    io.write_all(sent.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    soon("an answer and the end of the connection", async {
        // A reset after the answer is an end too.
        let _ = io.read_to_end(&mut all).await;
    })
    .await;
    String::from_utf8_lossy(&all).into_owned()
}
