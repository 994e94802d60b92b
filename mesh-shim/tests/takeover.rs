//! One shim takes over from another under load: no call fails, inbound or outbound.
//!
//! `MESH_TAKEOVER_CALLS=100000 cargo test -p mesh-shim --test takeover -- --nocapture` for the long
//! run.

mod common;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::app::answering;
use common::authority::instance;
use common::{Authority, PATIENCE, Scratch, Shim, until_within};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use mesh_tower::Mesh;
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tower_service::Service as _;

/// Connections of each direction, and calls a second of each.
const CALLERS: u32 = 20;
const RATE: u32 = 1_000;

/// A client that keeps its connection as long as it may.
struct Plain {
    addr: SocketAddr,
    io: Option<BufReader<TcpStream>>,
}

impl Plain {
    async fn get(&mut self) -> std::io::Result<()> {
        let mut io = match self.io.take() {
            Some(io) => io,
            None => BufReader::new(TcpStream::connect(self.addr).await?),
        };
        io.write_all(b"GET /x HTTP/1.1\r\nhost: ratings\r\n\r\n")
            .await?;
        let (mut line, mut keep, mut length, mut ok) = (String::new(), true, 0, false);
        loop {
            line.clear();
            if io.read_line(&mut line).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let lower = line.trim_end().to_ascii_lowercase();
            if lower.is_empty() {
                break;
            }
            ok |= lower.starts_with("http/1.1 200");
            keep &= lower != "connection: close";
            if let Some(text) = lower.strip_prefix("content-length: ") {
                length = text.parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        io.read_exact(&mut body).await?;
        if !ok {
            return Err(std::io::Error::other(
                String::from_utf8_lossy(&body).into_owned(),
            ));
        }
        self.io = keep.then_some(io);
        Ok(())
    }
}

#[derive(Default)]
struct Score {
    calls: AtomicU64,
    failed: AtomicU64,
    /// The first few.
    errors: Mutex<Vec<String>>,
}

impl Score {
    fn count(&self, result: Result<(), String>) {
        self.calls.fetch_add(1, Relaxed);
        if let Err(error) = result
            && self.failed.fetch_add(1, Relaxed) < 10
        {
            self.errors.lock().unwrap().push(error);
        }
    }
}

struct World {
    scratch: Scratch,
    authority: Authority,
    app: SocketAddr,
}

impl World {
    async fn new() -> Self {
        let world = Self {
            scratch: Scratch::new(),
            authority: Authority::new(),
            app: answering(Duration::ZERO).await,
        };
        world.authority.identity(&world.scratch, "legacy");
        world.scratch.write(
            "policy.yaml",
            &format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{ name: ratings, namespace: shop }}\n\
                 spec: {{ endpoints: {{ static: [{{ address: \"{}\" }}] }} }}\n",
                world.app
            ),
        );
        world
    }

    async fn shim(&self, inbound: &str, upstream: &str) -> Shim {
        let port = self.app.port().to_string();
        let upstream = format!("ratings.shop={upstream}");
        let identity = format!("dir:{}", self.scratch.at("legacy"));
        let args = [
            "proxy",
            "--as",
            "shop/legacy",
            "--port",
            &port,
            "--inbound",
            inbound,
            "--outbound",
            "off",
            "--upstream",
            &upstream,
            "--health",
            "127.0.0.1:0",
            "--metrics",
            "127.0.0.1:0",
            "--workers",
            "2",
            "--drain-in-flight",
            "20s",
            "--identity",
            &identity,
            "--policy",
            &self.scratch.at("policy.yaml"),
            "--takeover",
            &self.scratch.at("shim.sock"),
        ];
        let mut shim = Shim::spawn(&args);
        shim.ready().await;
        shim
    }

    fn caller(&self, inbound: SocketAddr) -> Mesh {
        Mesh::builder("shop/web")
            .credentials(self.authority.credentials("web"))
            .endpoint_infos("shop/legacy", [instance("legacy", inbound)])
            .build()
            .unwrap()
    }
}

/// Calls at the rate of one caller until told to stop.
async fn pace(stop: Arc<AtomicBool>, mut call: impl AsyncFnMut()) {
    let mut tick = tokio::time::interval(Duration::from_secs(1) * CALLERS / RATE);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    while !stop.load(Relaxed) {
        tick.tick().await;
        call().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn three_takeovers_under_load_fail_no_call() {
    let most: u64 = std::env::var("MESH_TAKEOVER_CALLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(16_000);
    let world = World::new().await;
    let mut shim = world.shim("127.0.0.1:0", "127.0.0.1:0").await;
    let (inbound, upstream) = (shim.port("inbound"), shim.port("upstream"));
    let mesh = world.caller(inbound);
    let stop = Arc::new(AtomicBool::new(false));
    let scores = [Arc::new(Score::default()), Arc::new(Score::default())];
    let began = Instant::now();
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let (score, client) = (scores[0].clone(), mesh.client("legacy.shop"));
        callers.push(tokio::spawn(pace(stop.clone(), async move || {
            let request = Request::get("http://legacy.shop/x")
                .body(Empty::<Bytes>::new())
                .unwrap();
            let result = match client.clone().call(request).await {
                Ok(answer) if answer.status() == StatusCode::OK => {
                    let body = answer.into_body().collect().await;
                    body.map(drop).map_err(|error| error.to_string())
                }
                Ok(answer) => Err(answer.status().to_string()),
                Err(error) => Err(format!("{error:#}")),
            };
            score.count(result);
        })));
        let score = scores[1].clone();
        let mut client = Plain {
            addr: upstream,
            io: None,
        };
        callers.push(tokio::spawn(pace(stop.clone(), async move || {
            let result = client.get().await.map_err(|error| error.to_string());
            score.count(result);
        })));
    }
    let total = || {
        scores
            .iter()
            .map(|one| one.calls.load(Relaxed))
            .sum::<u64>()
    };
    // Twice the time that all calls take at their rate.
    let limit = PATIENCE + 2 * Duration::from_secs(most / RATE as u64);
    let at_least = async |n: u64| {
        let what = format!("{n} calls are made");
        until_within(limit, &what, async || total() >= n).await;
    };
    for round in 1..=3 {
        at_least(most * round / 4).await;
        let next = world
            .shim(&inbound.to_string(), &upstream.to_string())
            .await;
        let code = shim.end().await.code();
        assert_eq!(code, Some(0), "the predecessor of round {round}");
        shim = next;
        println!("takeover {round} after {} calls", total());
    }
    at_least(most).await;
    stop.store(true, Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    let rate = total() as f64 / began.elapsed().as_secs_f64();
    let [inbound, outbound] = scores.each_ref().map(|one| {
        let (calls, failed) = (one.calls.load(Relaxed), one.failed.load(Relaxed));
        (calls, failed)
    });
    println!(
        "{} calls at {rate:.0}/s over three takeovers: inbound {} failed of {}, outbound {} of {}",
        total(),
        inbound.1,
        inbound.0,
        outbound.1,
        outbound.0
    );
    let errors = scores
        .each_ref()
        .map(|one| one.errors.lock().unwrap().clone());
    assert_eq!((inbound.1, outbound.1), (0, 0), "{errors:?}");
    shim.signal(Signal::TERM);
    assert_eq!(shim.end().await.code(), Some(0));
}
