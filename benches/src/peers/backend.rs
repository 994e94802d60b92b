//! What stands behind the subjects: HTTP/1.1, gRPC, WebSocket and TCP on three ports each.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::upstream::ANSWER;

/// Ports of one kind: a balancer has something to choose from.
pub const PORTS: usize = 3;

/// Where the backends listen.
#[derive(Debug, Clone, Copy)]
pub struct Backends {
    /// HTTP/1.1, HTTP/2 with prior knowledge, and WebSocket.
    pub http: [SocketAddr; PORTS],
    /// Echo.
    pub tcp: [SocketAddr; PORTS],
}

/// Starts all backends on a thread of their own, for as long as the process lives.
///
/// # Errors
///
/// When loopback has no free port.
pub fn spawn() -> io::Result<Backends> {
    let mut http = Vec::new();
    let mut tcp = Vec::new();
    for _ in 0..PORTS {
        http.push(crate::upstream::bind());
        tcp.push(crate::upstream::bind());
    }
    let addr = |one: &[(std::net::TcpListener, SocketAddr)]| std::array::from_fn(|ix| one[ix].1);
    let backends = Backends {
        http: addr(&http),
        tcp: addr(&tcp),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("backends".into())
        .spawn(move || {
            runtime.block_on(async move {
                for (listener, _) in http {
                    tokio::spawn(accept(listener, serve_http));
                }
                for (listener, _) in tcp {
                    tokio::spawn(accept(listener, |stream| async { echo(stream).await }));
                }
                std::future::pending::<()>().await;
            });
        })?;
    Ok(backends)
}

async fn accept<F>(listener: std::net::TcpListener, serve: fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    listener.set_nonblocking(true).expect("a socket");
    let listener = TcpListener::from_std(listener).expect("a socket");
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(serve(stream));
        }
    }
}

async fn serve_http(stream: TcpStream) {
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection_with_upgrades(TokioIo::new(stream), service_fn(answer))
        .await;
}

async fn answer(
    mut request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    if request.headers().contains_key(UPGRADE) {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            if let Ok(stream) = upgrade.await {
                echo(TokioIo::new(stream)).await;
            }
        });
        let mut response = Response::new(Full::new(Bytes::new()).boxed());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, ACCEPTED);
        return Ok(response);
    }
    let grpc = request.headers().get(CONTENT_TYPE) == Some(&GRPC);
    let _ = request.into_body().collect().await;
    if !grpc {
        return Ok(Response::new(Full::new(Bytes::from_static(ANSWER)).boxed()));
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(message(ANSWER)).with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(body.boxed());
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    Ok(response)
}

/// The answer to the key that the load sends, RFC 6455's example: haproxy checks it.
const ACCEPTED: HeaderValue = HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");

/// The content type of gRPC.
pub const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// `body` as one gRPC message: no compression, its length, itself.
#[must_use]
pub fn message(body: &[u8]) -> Bytes {
    let length = u32::try_from(body.len()).expect("a small message");
    let mut framed = vec![0];
    framed.extend(length.to_be_bytes());
    framed.extend(body);
    framed.into()
}

async fn echo(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
