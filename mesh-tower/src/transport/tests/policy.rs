//! The connection policy, on paused time over connections in memory.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use mesh_core::error::ErrorKind;
use mesh_core::policy::model::ConnectionPolicy;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::{call, get};
use crate::body::MeshBody;
use crate::testkit::{Reply, TestEndpoint, TestNet};
use crate::transport::{BoxIo, Connect, EndpointPool, PoolConfig, Protocol};

const ADDR: &str = "10.0.0.1:80";

fn bench(protocol: Protocol, policy: ConnectionPolicy) -> (TestEndpoint, Arc<EndpointPool>) {
    let net = TestNet::new();
    let endpoint = net.endpoint(ADDR);
    let config = PoolConfig::new(endpoint.addr())
        .with_protocol(protocol)
        .with_policy(policy);
    (endpoint, Arc::new(EndpointPool::new(config, Arc::new(net))))
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Starts calls and lets them get as far as they can.
async fn start(
    pool: &Arc<EndpointPool>,
    calls: usize,
) -> Vec<tokio::task::JoinHandle<Result<String, mesh_core::error::MeshError>>> {
    let calls = (0..calls).map(|_| {
        let pool = pool.clone();
        tokio::spawn(async move { call(&pool, "/").await })
    });
    let calls = calls.collect();
    tokio::time::sleep(Duration::from_millis(1)).await;
    calls
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_the_maximum_age_is_replaced_before_it_is_let_go() {
    let policy = ConnectionPolicy::default()
        .with_max_age(Some(Duration::from_secs(60)))
        .with_max_age_jitter_percent(0);
    let (endpoint, pool) = bench(Protocol::Http2, policy);
    let long = Reply::new(200, "long").after(Duration::from_secs(100));
    endpoint.once(long);
    let long = start(&pool, 1).await;
    for second in 0..59 {
        call(&pool, "/").await.expect("an answer");
        assert_eq!(pool.stats().opened, 1, "{second}");
        seconds(1).await;
    }
    endpoint.reply(Reply::new(200, "x").after(Duration::from_millis(1)));
    seconds(2).await;
    let stats = pool.stats();
    assert_eq!(
        (stats.opened, stats.open),
        (2, 2),
        "made before the next call"
    );
    call(&pool, "/").await.expect("an answer");
    assert_eq!(pool.stats().opened, 2, "the next call uses it");
    for one in long {
        assert_eq!(one.await.expect("a task").expect("an answer"), "long");
    }
    seconds(1).await;
    assert_eq!(
        pool.stats().open,
        1,
        "the old one closed after its last call"
    );
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_stays_while_its_replacement_cannot_be_made() {
    let policy = ConnectionPolicy::default()
        .with_max_age(Some(Duration::from_secs(10)))
        .with_max_age_jitter_percent(0);
    let net = TestNet::new();
    let endpoint = net.endpoint(ADDR);
    let refusing = Arc::new(AtomicBool::new(false));
    let connect = Arc::new(Refusing(net, refusing.clone()));
    let config = PoolConfig::new(endpoint.addr()).with_protocol(Protocol::Http2);
    let pool = EndpointPool::new(config.with_policy(policy), connect);
    call(&pool, "/").await.expect("an answer");
    refusing.store(true, SeqCst);
    for _ in 0..30 {
        call(&pool, "/").await.expect("an answer");
        seconds(1).await;
    }
    assert_eq!(pool.stats().opened, 1);
    refusing.store(false, SeqCst);
    for _ in 0..3 {
        call(&pool, "/").await.expect("an answer");
        seconds(1).await;
    }
    assert_eq!(pool.stats().opened, 2);
}

struct Refusing(TestNet, Arc<AtomicBool>);

impl Connect for Refusing {
    fn connect(
        &self,
        addr: SocketAddr,
    ) -> futures_core::future::BoxFuture<'static, io::Result<BoxIo>> {
        match self.1.load(SeqCst) {
            true => Box::pin(std::future::ready(Err(
                io::ErrorKind::ConnectionRefused.into()
            ))),
            false => self.0.connect(addr),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn idle_connections_of_both_protocols_are_closed() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let idle = Duration::from_secs(40);
        let policy = ConnectionPolicy::default().with_idle_timeout(idle);
        let (_endpoint, pool) = bench(protocol, policy);
        for _ in 0..20 {
            call(&pool, "/").await.expect("an answer");
            seconds(15).await;
        }
        assert_eq!(pool.stats().opened, 1, "{protocol:?}: used, so not idle");
        let began = Instant::now();
        while pool.stats().open > 0 {
            seconds(1).await;
            assert!(began.elapsed() < 2 * idle, "{protocol:?}");
        }
        call(&pool, "/").await.expect("an answer");
        assert_eq!(pool.stats().opened, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_takes_no_more_calls_than_its_maximum() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let policy = ConnectionPolicy::default().with_max_requests_per_connection(5);
        let (endpoint, pool) = bench(protocol, policy);
        for _ in 0..20 {
            call(&pool, "/").await.expect("an answer");
        }
        seconds(1).await;
        assert_eq!(endpoint.connects(), 4, "{protocol:?}");
        assert!(
            pool.stats().open <= 1,
            "{protocol:?}: the others are closed"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn streams_and_connections_are_bounded_and_every_call_has_its_turn() {
    for (protocol, at_once) in [(Protocol::Http1, 3), (Protocol::Http2, 6)] {
        let policy = ConnectionPolicy::default()
            .with_max_streams_per_connection(2)
            .with_max_connections_per_endpoint(3);
        let (endpoint, pool) = bench(protocol, policy);
        endpoint.reply(Reply::new(200, "x").after(Duration::from_secs(1)));
        let began = Instant::now();
        let calls = start(&pool, 60).await;
        assert_eq!(endpoint.calls(), at_once, "{protocol:?}");
        for one in calls {
            one.await.expect("a task").expect("an answer");
        }
        assert_eq!(pool.stats().opened, 3, "{protocol:?}");
        let took = began.elapsed().as_secs_f64();
        let least = 60.0 / at_once as f64;
        assert!(
            (least..least + 1.0).contains(&took),
            "{protocol:?}: {took} s"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn new_terms_hold_at_once_and_break_no_connection() {
    let (endpoint, pool) = bench(Protocol::Http2, ConnectionPolicy::default());
    endpoint.reply(Reply::new(200, "x").after(Duration::from_secs(10)));
    let first = start(&pool, 4).await;
    assert_eq!((endpoint.calls(), pool.stats().opened), (4, 1));
    // Tighter: what is in flight stays, what is new goes elsewhere.
    let tight = ConnectionPolicy::default().with_max_streams_per_connection(2);
    pool.tune(&tight, None);
    let second = start(&pool, 4).await;
    assert_eq!((endpoint.calls(), pool.stats().opened), (8, 3));
    let bounded = tight.with_max_connections_per_endpoint(1);
    pool.tune(&bounded, None);
    let third = start(&pool, 4).await;
    assert_eq!((endpoint.calls(), pool.stats().waiting), (8, 4));
    // Wider: those that wait go on.
    pool.tune(&ConnectionPolicy::default(), None);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!((endpoint.calls(), pool.stats().waiting), (12, 0));
    // Pings are agreed on at the beginning: the connections are replaced, not broken.
    let opened = pool.stats().opened;
    let pings = ConnectionPolicy::default().with_keepalive_interval(Some(LONG));
    pool.tune(&pings, None);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(pool.stats().opened > opened);
    for one in first.into_iter().chain(second).chain(third) {
        one.await.expect("a task").expect("an answer");
    }
}

const LONG: Duration = Duration::from_secs(300);

/// Connections through which nothing passes any more once `dead` is set, as when a machine or a
/// path disappears: no reset, no end.
#[derive(Clone)]
struct BlackHole {
    net: TestNet,
    at: SocketAddr,
    dead: Arc<AtomicBool>,
}

struct Hole(BoxIo, Arc<AtomicBool>);

impl Connect for BlackHole {
    fn connect(
        &self,
        addr: SocketAddr,
    ) -> futures_core::future::BoxFuture<'static, io::Result<BoxIo>> {
        let (made, dead) = (self.net.connect(addr), self.dead.clone());
        let here = addr == self.at;
        Box::pin(async move {
            if here && dead.load(SeqCst) {
                return std::future::pending().await;
            }
            let io = made.await?;
            let io: BoxIo = if here { Box::new(Hole(io, dead)) } else { io };
            Ok(io)
        })
    }
}

impl AsyncRead for Hole {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut late = [0; 4096];
        if !self.1.load(SeqCst) {
            return Pin::new(&mut self.0).poll_read(cx, buf);
        }
        let mut late = ReadBuf::new(&mut late);
        while Pin::new(&mut self.0).poll_read(cx, &mut late)?.is_ready() {
            if late.filled().is_empty() {
                break;
            }
            late.clear();
        }
        Poll::Pending
    }
}

impl AsyncWrite for Hole {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.1.load(SeqCst) {
            true => Poll::Ready(Ok(buf.len())),
            false => Pin::new(&mut self.0).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a8_a_black_holed_connection_is_noticed_by_its_pings_and_its_calls_fail_over() {
    let net = TestNet::new();
    let (one, two) = (net.endpoint(ADDR), net.endpoint("10.0.0.2:80"));
    let dead = Arc::new(AtomicBool::new(false));
    let connect = BlackHole {
        net,
        at: one.addr(),
        dead: dead.clone(),
    };
    let config = PoolConfig::new(one.addr()).with_protocol(Protocol::Http2);
    let policy = ConnectionPolicy::default().with_keepalive_interval(Some(Duration::from_secs(10)));
    let pool = Arc::new(EndpointPool::new(
        config.with_policy(policy),
        Arc::new(connect.clone()),
    ));
    one.reply(Reply::new(200, "slow").after(LONG));
    let calls = start(&pool, 3).await;
    dead.store(true, SeqCst);
    let began = Instant::now();
    for one in calls {
        let error = one
            .await
            .expect("a task")
            .expect_err("the connection is dead");
        assert!(format!("{error:#}").contains("ping"), "{error:#}");
    }
    let took = began.elapsed();
    assert!(took <= Duration::from_secs(31), "{took:?}");
    assert_eq!(pool.stats().open, 0);

    // A whole client: both endpoints known, the calls of the dead one end at the other.
    dead.store(false, SeqCst);
    // Slower than what is assumed of an endpoint that nobody has called: both are tried.
    one.reply(Reply::new(200, "one").after(Duration::from_millis(50)));
    two.reply(Reply::new(200, "two").after(Duration::from_millis(50)));
    let policy = "service: default/reviews\n\
        ports: [{ port: 80, appProtocol: http2 }]\n\
        endpoints: { static: [{ address: '10.0.0.1:80' }, { address: '10.0.0.2:80' }] }\n\
        backend: { connection: { keepaliveInterval: 10s, keepaliveTimeout: 2s } }\n\
        route: [{ retry: { attempts: 2 } }]\n";
    let mesh = crate::mesh::Mesh::builder("web")
        .connector(Arc::new(connect))
        .policy_text(policy)
        .build()
        .expect("a mesh");
    for _ in 0..20 {
        served(&mesh).await;
    }
    assert!(one.calls() > 3, "both are used");
    dead.store(true, SeqCst);
    for _ in 0..20 {
        served(&mesh).await;
    }
}

async fn served(mesh: &crate::mesh::Mesh) {
    use tower_service::Service;
    let answer = mesh.client("reviews").call(get("/")).await;
    assert_eq!(answer.expect("an answer").status(), 200);
}

#[tokio::test(start_paused = true)]
async fn who_accepts_and_never_speaks_is_no_connection() {
    struct Silent;
    impl Connect for Silent {
        fn connect(
            &self,
            _: SocketAddr,
        ) -> futures_core::future::BoxFuture<'static, io::Result<BoxIo>> {
            let (near, far) = tokio::io::duplex(1 << 16);
            tokio::spawn(async move {
                std::future::pending::<()>().await;
                drop(far);
            });
            let near: BoxIo = Box::new(near);
            Box::pin(std::future::ready(Ok(near)))
        }
    }
    let addr: SocketAddr = ADDR.parse().expect("an address");
    let config = PoolConfig::new(addr).with_protocol(Protocol::Http2);
    let pool = EndpointPool::new(config, Arc::new(Silent));
    let began = Instant::now();
    let request = http::Request::post("/").body(MeshBody::full("x"));
    let error = pool.call(request.expect("a request")).await;
    let error = error.expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::Connect, "{error:#}");
    assert!(error.flags().never_sent, "it may go to another endpoint");
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(pool.stats().open, 0);
}
