use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use mesh_core::error::ErrorKind;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::server::server;
use super::{LONG, call, get, pool, until};
use crate::tls::testing::Authority;
use crate::tls::{ClientTls, Expect};
use crate::transport::{BoxIo, Connect, EndpointPool, PoolConfig, Protocol};

/// Connects to what a test makes up.
struct Made<F>(F);

impl<F: Fn() -> Option<BoxIo> + Send + Sync + 'static> Connect for Made<F> {
    fn connect(&self, _: SocketAddr) -> BoxFuture<'static, io::Result<BoxIo>> {
        let io = (self.0)();
        Box::pin(async move {
            match io {
                Some(io) => Ok(io),
                None => std::future::pending().await,
            }
        })
    }
}

fn made(
    protocol: Protocol,
    io: impl Fn() -> Option<BoxIo> + Send + Sync + 'static,
) -> EndpointPool {
    let config = PoolConfig::new(([192, 0, 2, 1], 80).into()).with_protocol(protocol);
    EndpointPool::new(config, Arc::new(Made(io)))
}

#[tokio::test]
async fn a_refused_connection_names_the_address_and_may_be_tried_elsewhere() {
    let addr = TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("an address");
    for protocol in [Protocol::Http1, Protocol::Http2, Protocol::Auto] {
        let pool = pool(PoolConfig::new(addr).with_protocol(protocol));
        let error = call(&pool, "/").await.expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert!(error.flags().never_sent && error.is_retryable());
        assert_eq!(
            error.to_string(),
            format!("{addr}: connection refused [M2010]")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_answer_costs_one_second() {
    let pool = made(Protocol::Http1, || None);
    let start = Instant::now();
    let error = call(&pool, "/").await.expect_err("silence");
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(error.is_retryable());
}

/// One handshake for a burst, and one failure: the wait is not multiplied.
#[tokio::test(start_paused = true)]
async fn those_who_waited_share_the_failure() {
    let pool = Arc::new(made(Protocol::Http2, || None));
    let start = Instant::now();
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { call(&pool, "/").await })
        })
        .collect();
    for one in calls {
        assert_eq!(
            one.await.expect("a task").expect_err("silence").kind(),
            ErrorKind::Connect
        );
    }
    assert_eq!(start.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_accepts_and_stays_silent_fails_the_handshake() {
    let authority = Authority::new();
    let credentials = authority.credentials("spiffe://mesh.local/ns/shop/sa/web");
    let held = std::sync::Mutex::new(Vec::new());
    let connect = Made(move || {
        let (near, far) = tokio::io::duplex(1 << 16);
        held.lock().expect("a lock").push(far);
        let near: BoxIo = Box::new(near);
        Some(near)
    });
    let config = PoolConfig::new(([192, 0, 2, 1], 443).into())
        .with_tls(ClientTls::new(&credentials), Expect::Any);
    let pool = EndpointPool::new(config, Arc::new(connect));
    let start = Instant::now();
    let error = call(&pool, "/").await.expect_err("silence");
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert_eq!(error.code().to_string(), "M4002");
    assert!(error.flags().never_sent);
}

/// Answers the first bytes with a fixed text.
fn answers(text: &'static [u8]) -> Option<BoxIo> {
    let (near, mut far) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move {
        let mut first = [0; 1];
        let _ = tokio::io::AsyncReadExt::read(&mut far, &mut first).await;
        let _ = far.write_all(text).await;
    });
    Some(Box::new(near))
}

#[tokio::test]
async fn broken_answers_are_protocol_errors_and_not_retryable() {
    for (text, said) in [
        (&b"HTTP/0.9 bytes"[..], "not HTTP"),
        (b"", "closed before an answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "not HTTP"),
    ] {
        let pool = made(Protocol::Http1, move || answers(text));
        let error = call(&pool, "/").await.expect_err(said);
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        assert!(!error.is_retryable(), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
    let pool = made(Protocol::Http2, || {
        answers(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    });
    let error = call(&pool, "/").await.expect_err("not HTTP/2");
    // Whether the request was written before the end came is a matter of moments.
    let unsent = error.kind() == ErrorKind::Connect && error.flags().never_sent;
    assert!(unsent || error.kind() == ErrorKind::Protocol, "{error}");
}

/// The future dropped: the server's handler, waiting for something else, is dropped too.
pub(super) async fn dropped_upstream(protocol: Protocol) {
    struct Gone(mpsc::UnboundedSender<()>);
    impl Drop for Gone {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (tell, mut gone) = mpsc::unbounded_channel();
    let server = server().start(move |_| {
        let guard = Gone(tell.clone());
        async move {
            let _guard = guard;
            std::future::pending().await
        }
    });
    let pool = Arc::new(pool(PoolConfig::new(server.addr).with_protocol(protocol)));
    for n in 1..=3 {
        let one = tokio::spawn({
            let pool = pool.clone();
            async move { pool.call(get("/")).await.map(|_| ()) }
        });
        until("the call is there", || server.requests() == n).await;
        one.abort();
        tokio::time::timeout(LONG, gone.recv())
            .await
            .expect("dropped in time");
    }
}
