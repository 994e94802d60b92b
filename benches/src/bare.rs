//! The least that a pooled HTTP/1.1 client on hyper can be: connections in a `Vec`, no policy at all.

use std::net::SocketAddr;
use std::sync::Mutex;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Idle connections to one address, last in, first out.
#[derive(Debug)]
pub struct BareClient {
    addr: SocketAddr,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl BareClient {
    /// A client of `addr` without connections.
    #[must_use]
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            idle: Mutex::new(Vec::new()),
        }
    }

    async fn connection(&self) -> SendRequest<Full<Bytes>> {
        loop {
            let pooled = self.idle.lock().expect("not poisoned").pop();
            match pooled {
                Some(mut sender) => {
                    if sender.ready().await.is_ok() {
                        return sender;
                    }
                }
                None => break,
            }
        }
        let stream = TcpStream::connect(self.addr)
            .await
            .expect("the upstream listens");
        stream.set_nodelay(true).expect("a TCP socket");
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .expect("an HTTP/1.1 peer");
        tokio::spawn(async move {
            let _ = connection.await;
        });
        sender
    }

    /// Sends `request` on an idle connection, or on a new one.
    ///
    /// # Panics
    ///
    /// When the upstream does not answer: a bench has no use for a partial result.
    pub async fn call(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let mut sender = self.connection().await;
        let response = sender.send_request(request).await.expect("an answer");
        self.idle.lock().expect("not poisoned").push(sender);
        response
    }
}
