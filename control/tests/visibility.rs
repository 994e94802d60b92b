//! Who calls past the mesh: real servers, real mutual TLS, real reports, and what `meshctl check` says.
#![allow(clippy::print_stdout, reason = "figures")]

mod common;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{PATIENCE, Scratch, eventually, meshctl, start};
use mesh_control::server::Running;
use mesh_grpc::Join;
use mesh_tower::server::ServerHandle;
use mesh_tower::{Mesh, MeshBody, MeshClient};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SPLIT: &str = "service: shop/reviews
route:
- backends: { reviews-v1: 90, reviews-v2: 10 }
transport: { mtls: Permissive }
---
service: shop/reviews-v1
subsetOf: reviews
selector: { version: v1 }
---
service: shop/reviews-v2
subsetOf: reviews
selector: { version: v2 }
";

async fn join(server: &Running, service: &str, instance: &str, version: &str) -> Mesh {
    Join::builder()
        .without_env()
        .service(service)
        .control(&format!("https://{}", server.grpc_addr))
        .identity(&format!("token:{}", server.token_path().display()))
        .instance(instance)
        .label("version", version)
        .join()
        .await
        .unwrap()
}

/// A server of a member, and how many calls it has had.
fn serve(member: &Mesh) -> (ServerHandle, Arc<AtomicU64>) {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    let answer = tower::service_fn(move |_: http::Request<MeshBody>| {
        counted.fetch_add(1, Relaxed);
        async { Ok::<_, Infallible>(http::Response::new(MeshBody::full("hello"))) }
    });
    let bound = member.server().bind("127.0.0.1:0").unwrap();
    (bound.serve(answer).unwrap(), calls)
}

async fn call(client: &mut MeshClient, host: &str) {
    let request = http::Request::get(format!("http://{host}/7"));
    let request = request.body(MeshBody::empty()).unwrap();
    let response = tower_service::Service::call(client, request).await.unwrap();
    assert_eq!(response.status(), 200);
}

/// A client that knows nothing of the mesh, on one connection.
struct Job(TcpStream);

impl Job {
    async fn connect(addr: SocketAddr) -> Self {
        Self(TcpStream::connect(addr).await.unwrap())
    }

    /// The status, or `None` when the server has closed.
    async fn call(&mut self) -> Option<u16> {
        let request = b"GET /7 HTTP/1.1\r\nhost: reviews.shop\r\n\r\n";
        self.0.write_all(request).await.ok()?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello") {
            let byte = tokio::time::timeout(PATIENCE, self.0.read_u8()).await;
            answer.push(byte.expect("an answer, or the end").ok()?);
        }
        let text = String::from_utf8(answer).unwrap();
        text.split(' ').nth(1)?.parse().ok()
    }

    /// Waits until the server closes.
    async fn end(&mut self) {
        let mut byte = [0];
        let end = tokio::time::timeout(PATIENCE, self.0.read(&mut byte)).await;
        assert!(matches!(end.expect("it is cut"), Ok(0) | Err(_)));
    }
}

fn socket(server: &Running) -> String {
    format!("unix:{}", server.admin_socket().display())
}

/// Subjects and messages of the findings with a code.
async fn found(socket: &str, code: &str) -> Vec<(String, String)> {
    let (_, out, _) = meshctl(socket, &["check", "-o", "json"]).await;
    let findings: Vec<Value> = serde_json::from_str(&out).unwrap();
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
    findings
        .iter()
        .filter(|finding| finding["code"] == code)
        .map(|finding| (text(finding, "subject"), text(finding, "message")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn part13_a_canary_that_receives_more_than_its_weight_is_named_with_who_bypasses_the_split() {
    const ROUTED: u64 = 100;
    const PAST: u64 = 50;
    const OUTSIDE: u64 = 20;
    let scratch = Scratch::new();
    let server = start(&scratch).await;
    server
        .apply([("reviews.yaml".to_owned(), SPLIT.to_owned())])
        .unwrap();
    let one = join(&server, "shop/reviews", "r-1", "v1").await;
    let two = join(&server, "shop/reviews", "r-2", "v2").await;
    let (stable, at_stable) = serve(&one);
    let (canary, at_canary) = serve(&two);
    let socket = socket(&server);
    let listed = async || meshctl(&socket, &["endpoints", "reviews"]).await.1;
    let addrs = [&stable, &canary].map(|handle| handle.local_addr().to_string());
    eventually(listed, |out| addrs.iter().all(|addr| out.contains(addr))).await;

    // Routed, by the split.
    let web = join(&server, "shop/web", "w-1", "v1").await;
    let mut client = web.client("reviews.shop");
    for _ in 0..ROUTED {
        call(&mut client, "reviews.shop").await;
    }
    // Each call draws by itself: ten, and five standard deviations either way.
    let by_split = at_canary.load(Relaxed);
    assert!(
        (1..=25).contains(&by_split),
        "{by_split} of {ROUTED} by the split"
    );
    assert!(found(&socket, "M5011").await.is_empty(), "in proportion");
    // In the mesh, but with the canary's own name; and not in the mesh at all.
    let batch = join(&server, "shop/batch", "b-1", "v1").await;
    let mut client = batch.client("reviews-v2.shop");
    for _ in 0..PAST {
        call(&mut client, "reviews-v2.shop").await;
    }
    let mut job = Job::connect(canary.local_addr()).await;
    for _ in 0..OUTSIDE {
        assert_eq!(job.call().await, Some(200));
    }

    let all = |found: &Vec<(String, String)>| {
        let whole = format!("shop/batch as shop/reviews-v2 ({PAST}), plaintext ({OUTSIDE})");
        found.iter().any(|(_, text)| text.ends_with(&whole))
    };
    let told = eventually(async || found(&socket, "M5011").await, all).await;
    let (canarys, stables) = (at_canary.load(Relaxed), at_stable.load(Relaxed));
    let observed = canarys as f64 * 100.0 / (canarys + stables) as f64;
    let [(subject, text)] = told.as_slice() else {
        panic!("{told:?}")
    };
    println!("intended 10.0%, observed {observed:.1}% at the servers: {subject}: {text}");
    assert_eq!(subject, "shop/reviews-v2");
    let shares = format!(
        "receives {observed:.1}% of the calls of shop/reviews rule reviews/0, 10.0% is intended: \
         {} of {canarys} calls in 10s came past the split",
        PAST + OUTSIDE
    );
    assert!(text.starts_with(&shares), "{text}\n{shares}");
}

#[tokio::test(flavor = "multi_thread")]
async fn part13_a_workload_that_is_not_in_the_mesh_is_named_within_30_s_of_its_first_call() {
    for mode in ["Permissive", "Strict"] {
        let scratch = Scratch::new();
        let server = start(&scratch).await;
        let policy = format!(
            "service: shop/reviews\nports: [{{ port: 80 }}]\ntransport: {{ mtls: {mode} }}\n"
        );
        server.apply([("reviews.yaml".to_owned(), policy)]).unwrap();
        let member = join(&server, "shop/reviews", "r-1", "v1").await;
        let (serving, _) = serve(&member);
        let socket = socket(&server);
        let current = format!("{}  current", server.revision());
        let clients = async || meshctl(&socket, &["clients"]).await.1;
        eventually(clients, |out| out.contains(&current)).await;
        assert!(found(&socket, "M5012").await.is_empty());

        let began = Instant::now();
        let mut job = Job::connect(serving.local_addr()).await;
        let answer = job.call().await;
        assert_eq!(answer, (mode == "Permissive").then_some(200));
        let told = async || found(&socket, "M5012").await;
        let told = eventually(told, |found| !found.is_empty()).await;
        let seconds = began.elapsed().as_secs_f64();
        println!("{mode}: named {seconds:.1} s after its first call (bound 30 s): {told:?}");
        assert!(seconds < 30.0);
        assert_eq!(told[0].0, "shop/reviews");
        let says = match mode {
            "Strict" => "are refused: 127.0.0.1 (1 connections",
            _ => "would cut them off: 127.0.0.1 (1 calls",
        };
        assert!(told[0].1.contains(says), "{told:?}");
    }
}

/// A moment as a policy writes it: a date of this year and the next few, in whole seconds.
fn written(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (mut days, rest) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= months[month] {
        days -= months[month];
        month += 1;
    }
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!(
        "{year}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z",
        month + 1,
        days + 1
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn part13_strict_mtls_is_preceded_by_a_list_of_who_is_plaintext_and_excepts_until_a_date() {
    let scratch = Scratch::new();
    let server = start(&scratch).await;
    let apply = |transport: &str| {
        let text =
            format!("service: shop/reviews\nports: [{{ port: 80 }}]\ntransport: {transport}\n");
        server.apply([("reviews.yaml".to_owned(), text)]).unwrap()
    };
    apply("{ mtls: Permissive }");
    let member = join(&server, "shop/reviews", "r-1", "v1").await;
    let (serving, _) = serve(&member);
    let web = join(&server, "shop/web", "w-1", "v1").await;
    let mut client = web.client("reviews.shop");
    call(&mut client, "reviews.shop").await;
    let socket = socket(&server);

    // Before the switch: by source, with counts.
    let mut job = Job::connect(serving.local_addr()).await;
    for _ in 0..3 {
        assert_eq!(job.call().await, Some(200));
    }
    let told = async || found(&socket, "M5012").await;
    let listed = eventually(told, |found| {
        found
            .iter()
            .any(|(_, text)| text.contains("127.0.0.1 (3 calls"))
    })
    .await;
    println!("before the switch: {listed:?}");

    // The switch, with an exception that ends soon.
    let ends = SystemTime::now() + Duration::from_secs(5);
    let exception = format!(
        "{{ mtls: Strict, exceptions: [{{ source: 127.0.0.1, expires: '{}', reason: job }}] }}",
        written(ends)
    );
    let current = format!("{}  current", apply(&exception));
    let clients = async || meshctl(&socket, &["clients"]).await.1;
    eventually(clients, |out| {
        let reviews = out.lines().find(|line| line.starts_with("reviews"));
        reviews.is_some_and(|line| line.contains(&current))
    })
    .await;
    assert_eq!(job.call().await, Some(200), "excepted");
    let ending = found(&socket, "M5013").await;
    println!("before the date: {ending:?}");
    let [(subject, text)] = ending.as_slice() else {
        panic!("{ending:?}")
    };
    assert_eq!(subject, "TransportPolicy shop/reviews");
    assert!(
        text.starts_with("the exception for 127.0.0.1 (job) ends in ")
            && text.ends_with(": used by 127.0.0.1"),
        "{text}"
    );

    // The date.
    job.end().await;
    let late = SystemTime::now().duration_since(ends - Duration::from_secs(1));
    println!("cut {late:?} after the second before the date");
    late.expect("not before the date, which has whole seconds");
    assert_eq!(Job::connect(serving.local_addr()).await.call().await, None);
    call(&mut client, "reviews.shop").await;
    let told = async || found(&socket, "M5013").await;
    let ended = eventually(told, |found| found[0].1.contains(" ended ")).await;
    println!("after the date: {ended:?}");
}
