//! A small HTTP/1.1 server to call, on a thread or in a process of its own.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

/// The answer's body: small, as most answers between services are.
pub const ANSWER: &[u8] = b"{\"id\":7,\"stars\":5,\"text\":\"a small answer\"}";

/// Binds a free loopback port.
///
/// # Panics
///
/// When loopback has none.
#[must_use]
pub fn bind() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
    let addr = listener.local_addr().expect("a bound socket");
    (listener, addr)
}

/// Serves `listener` on one single-threaded runtime until the process ends.
pub fn serve(listener: TcpListener) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async move {
        listener.set_nonblocking(true).expect("a socket");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                let service = service_fn(|_: Request<Incoming>| async {
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(ANSWER))))
                });
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
}

/// Serves on a thread of its own and gives the address.
#[must_use]
pub fn spawn() -> SocketAddr {
    let (listener, addr) = bind();
    std::thread::Builder::new()
        .name("upstream".into())
        .spawn(move || serve(listener))
        .expect("a thread");
    addr
}
