//! Unary gRPC calls on an HTTP/2 connection.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::Caller;
use crate::peers::backend::{GRPC, message};

/// Calls in flight on one connection in the closed loop.
const AT_A_TIME: usize = 8;
/// A call that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Grpc {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
}

impl Grpc {
    pub(super) fn connect(addr: SocketAddr) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(addr).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .map_err(io::Error::other)?;
            tokio::spawn(connection);
            Ok::<_, io::Error>(sender)
        })?;
        Ok(Self { runtime, sender })
    }
}

impl Caller for Grpc {
    fn call(&mut self) -> io::Result<()> {
        self.runtime.block_on(one(self.sender.clone()))
    }

    fn keep_calling(&mut self, stop: &AtomicBool, done: &AtomicU64) -> io::Result<()> {
        let lanes = (0..AT_A_TIME).map(|_| async {
            while !stop.load(Ordering::Relaxed) {
                one(self.sender.clone()).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, io::Error>(())
        });
        self.runtime.block_on(try_join_all(lanes)).map(drop)
    }
}

async fn one(mut sender: SendRequest<Full<Bytes>>) -> io::Result<()> {
    let request = Request::builder()
        .method(Method::POST)
        .version(Version::HTTP_2)
        .uri("http://answers.bench/bench.Answers/Get")
        .header(CONTENT_TYPE, GRPC)
        .header("te", "trailers")
        .body(Full::new(message(b"\x08\x07")))
        .map_err(io::Error::other)?;
    let call = async {
        sender.ready().await.map_err(io::Error::other)?;
        let response = sender
            .send_request(request)
            .await
            .map_err(io::Error::other)?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?;
        let status = body
            .trailers()
            .and_then(|trailers| trailers.get("grpc-status"))
            .or_else(|| head.headers.get("grpc-status"));
        match status {
            Some(status) if status == "0" => Ok(()),
            other => Err(io::Error::other(format!("grpc-status {other:?}"))),
        }
    };
    tokio::time::timeout(TIMEOUT, call)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
