//! Several applications of one machine behind one shim: each calls and is called as itself, and none is
//! in the way of another.

#![allow(clippy::print_stdout, reason = "the figures are what the tests show")]

mod common;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::app::{RawApp, Recorder, ok};
use common::wire::Wire;
use common::{Authority, PATIENCE, Scratch, Shim, free_port, until};
use http::{Request, Response};
use mesh_tower::server::ServerHandle;
use mesh_tower::{Mesh, MeshBody};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Identities and the policy of a machine; the applications are known at fixed ports of the mesh.
struct Machine {
    scratch: Scratch,
    authority: Authority,
    web: u16,
    api: u16,
    redis: u16,
}

impl Machine {
    fn new() -> Self {
        let machine = Self {
            scratch: Scratch::new(),
            authority: Authority::new(),
            web: free_port(),
            api: free_port(),
            redis: free_port(),
        };
        for name in ["web", "api", "redis", "batch"] {
            machine.authority.identity(&machine.scratch, name);
        }
        let service = |name: &str, port: u16, more: &str| {
            format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: shop }}\n\
                 spec: {{ {more} endpoints: {{ static: [{{ address: \"127.0.0.1:{port}\", \
                 identity: \"spiffe://mesh.local/ns/shop/sa/{name}\" }}] }} }}\n---\n"
            )
        };
        let access = |name: &str| {
            format!(
                "apiVersion: policy.mesh/v1alpha1\nkind: AccessPolicy\nmetadata: {{ name: {name}, namespace: shop }}\n\
                 spec: {{ targetRefs: [{{ kind: Service, name: {name} }}], mode: Enforce, \
                 allow: [{{ from: [{{ service: web }}] }}] }}\n---\n"
            )
        };
        let policy = service("web", machine.web, "")
            + &service("api", machine.api, "")
            + &service(
                "redis",
                machine.redis,
                "ports: [{ port: 6379, appProtocol: tcp }],",
            )
            + &access("api")
            + &access("redis");
        machine.scratch.write("policy.yaml", &policy);
        machine
    }

    fn web(&self, app: SocketAddr) -> String {
        format!(
            "shop/web={},inbound=127.0.0.1:{},outbound=0,upstream=api.shop@0,\
             upstream=tcp://redis.shop:6379@0",
            app.port(),
            self.web
        )
    }

    fn api(&self, app: SocketAddr) -> String {
        let (port, inbound) = (app.port(), self.api);
        format!("shop/api={port},protocol=h2c,inbound=127.0.0.1:{inbound}")
    }

    fn redis(&self, app: SocketAddr) -> String {
        let (port, inbound) = (app.port(), self.redis);
        format!("shop/redis={port},protocol=tcp,inbound=127.0.0.1:{inbound}")
    }

    fn spawn(&self, apps: &[&str], more: &[&str]) -> Shim {
        let log = "warn,mesh_shim=info,mesh::access=info";
        self.spawn_with(apps, more, ("MESH_LOG", log))
    }

    fn spawn_with(&self, apps: &[&str], more: &[&str], variable: (&str, &str)) -> Shim {
        let (policy, any) = (self.scratch.at("policy.yaml"), "127.0.0.1:0");
        let identity = format!("dir:{}", self.scratch.at("{name}"));
        let mut args: Vec<&str> = apps.iter().flat_map(|app| ["--app", *app]).collect();
        args.extend(["--policy", &policy, "--identity", &identity]);
        args.extend(["--health", any, "--metrics", any]);
        args.extend(more);
        Shim::spawn_with(&args, &[variable])
    }
}

/// Speaks HTTP/2 without TLS, and says which version it heard.
fn h2c() -> ServerHandle {
    let mesh = Mesh::builder("x").build().unwrap();
    let server = mesh.server().bind("127.0.0.1:0").unwrap();
    let answer = tower::service_fn(async |request: Request<MeshBody>| {
        let text = format!("{:?}", request.version());
        Ok::<_, Infallible>(Response::new(MeshBody::full(text)))
    });
    server.serve(answer).unwrap()
}

/// Sends back what it gets.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut io, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = io.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    addr
}

/// Bound and not listening: nobody else gets the port meanwhile.
fn closed() -> (tokio::net::TcpSocket, SocketAddr) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

/// Status, code of the mesh, body.
async fn get(addr: SocketAddr) -> (u16, String, String) {
    let mut wire = Wire::connect(addr).await;
    wire.send("GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    let answer = wire.answer().await;
    let code = answer.head.get("mesh-reason").unwrap_or("-").to_owned();
    (answer.head.status(), code, answer.text())
}

/// What comes back of four bytes; nothing, if the connection is refused or reset.
async fn ping(addr: SocketAddr) -> Vec<u8> {
    let ask = async {
        let mut io = TcpStream::connect(addr).await?;
        io.write_all(b"ping").await?;
        io.shutdown().await?;
        let mut all = Vec::new();
        io.read_to_end(&mut all).await?;
        Ok::<_, std::io::Error>(all)
    };
    let got = tokio::time::timeout(PATIENCE, ask).await.expect("an end");
    got.unwrap_or_default()
}

fn upstreams(shim: &Shim, app: &str) -> Vec<SocketAddr> {
    let name = format!("{app} upstream");
    let all = shim.ports.iter().filter(|(found, _)| *found == name);
    all.map(|(_, addr)| *addr).collect()
}

#[tokio::test]
async fn each_calls_and_is_called_by_its_own_identity() {
    let machine = Machine::new();
    let (web, api, redis) = (Recorder::new(|_| ok()).await, h2c(), echo().await);
    let batch =
        "shop/batch,upstream=api.shop@0,upstream=tcp://redis.shop:6379@0,upstream=web.shop@0";
    let api_app = machine.api(api.local_addr());
    let mut shim = machine.spawn(
        &[
            &machine.web(web.addr),
            &api_app,
            &machine.redis(redis),
            batch,
        ],
        &["--workers", "2"],
    );
    shim.ready().await;
    let lines = "shop/web ok\nshop/api ok\nshop/redis ok\nshop/batch ok\n";
    assert_eq!(
        shim.page("health", "/readyz").await,
        (200, lines.to_owned())
    );

    let from_web = upstreams(&shim, "shop/web");
    let from_batch = upstreams(&shim, "shop/batch");
    let allowed = get(from_web[0]).await;
    assert_eq!((allowed.0, allowed.2.as_str()), (200, "HTTP/2.0"));
    let denied = get(from_batch[0]).await;
    assert_eq!((denied.0, denied.1.as_str()), (403, "M4001"));
    let (answered, refused) = (ping(from_web[1]).await, ping(from_batch[1]).await);
    assert_eq!((answered.as_slice(), refused.len()), (&b"ping"[..], 0));
    let open = get(from_batch[2]).await;
    assert_eq!((open.0, open.2.as_str()), (200, "ok"));
    let line = shim.line("denied [M4001]").await;
    assert!(line.contains("application=\"shop/api\""), "{line}");
    println!("{line}\nweb to api {allowed:?}, batch to api {denied:?}, batch to web {open:?}");

    // Each application has its own series, and each metric one head.
    let text = shim.metrics().await;
    let count = |metric: &str, parts: &[&str]| -> f64 {
        let fits = |line: &&str| line.starts_with(metric) && parts.iter().all(|p| line.contains(p));
        let values = text.lines().filter(fits);
        let values = values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        values.sum()
    };
    for (application, from, expected) in [
        ("shop/api", "shop/web", 1.0),
        ("shop/web", "shop/batch", 1.0),
        ("shop/web", "shop/web", 0.0),
    ] {
        let labels = [
            format!("application=\"{application}\""),
            format!("from=\"{from}\""),
        ];
        let labels = labels.each_ref().map(String::as_str);
        let found = count("mesh_server_requests_total{", &labels);
        println!("{application} has {found} requests of {from}");
        assert_eq!(found, expected, "{text}");
    }
    let denied = count(
        "mesh_denied_total{",
        &["application=\"shop/api\"", "shop/batch"],
    );
    assert_eq!(denied, 1.0, "{text}");
    for head in [
        "# TYPE mesh_calls_total ",
        "# TYPE mesh_shim_tunnels_total ",
    ] {
        assert_eq!(text.matches(head).count(), 1, "{head} in {text}");
    }
    assert_eq!(
        count("mesh_shim_tunnels_total{application=\"shop/web\"", &[]),
        0.0
    );
    api.shutdown().await;
}

#[tokio::test]
async fn one_that_is_down_is_told_of_and_the_others_serve() {
    let machine = Machine::new();
    let (web, (socket, down)) = (Recorder::new(|_| ok()).await, closed());
    let began = Instant::now();
    let batch = "shop/batch,upstream=web.shop@0";
    let mut shim = machine.spawn(
        &[&machine.web(web.addr), &machine.api(down), batch],
        &["--app-ready", "300ms"],
    );
    shim.line(&format!("shop/api: {down} does not accept after 300ms"))
        .await;
    shim.ready().await;
    println!("started after {:?} with one of three down", began.elapsed());
    let text = shim.turns("/readyz", 503).await;
    let waits = format!("shop/web ok\nshop/api {down} does not accept\nshop/batch ok\n");
    assert_eq!(text, waits);
    assert_eq!(shim.page("health", "/readyz/shop/web").await.0, 200);
    assert_eq!(shim.page("health", "/readyz/shop/api").await.0, 503);
    assert_eq!(shim.page("health", "/readyz/shop/none").await.0, 404);
    assert_eq!(get(upstreams(&shim, "shop/batch")[0]).await.0, 200);
    // Whoever calls it is told, and does not hang.
    let began = Instant::now();
    let told = get(upstreams(&shim, "shop/web")[0]).await;
    println!(
        "a call to the one that is down: {told:?} after {:?}",
        began.elapsed()
    );
    assert!(told.0 == 503 || told.0 == 502, "{told:?}");
    assert!(told.1.starts_with('M'), "{told:?}");
    assert!(began.elapsed() < Duration::from_secs(10));

    let listener = socket.listen(16).unwrap();
    let text = shim.turns("/readyz", 200).await;
    assert!(text.contains("shop/api ok"), "{text}");
    drop(listener);
}

#[tokio::test]
async fn one_that_cannot_join_is_told_of_and_tries_again() {
    let machine = Machine::new();
    let key = machine.scratch.path().join("api");
    std::fs::remove_dir_all(key).unwrap();
    let (web, api) = (Recorder::new(|_| ok()).await, h2c());
    let api_app = machine.api(api.local_addr()) + ",upstream=web.shop@0";
    let mut shim = machine.spawn(&[&machine.web(web.addr), &api_app], &[]);
    shim.ready().await;
    // Its own calls end at once, and do not wait for it.
    let began = Instant::now();
    let nothing = ping(upstreams(&shim, "shop/api")[0]).await;
    println!(
        "a connection of the one that cannot join ended in {:?}",
        began.elapsed()
    );
    assert!(nothing.is_empty() && began.elapsed() < Duration::from_secs(10));
    let (status, text) = shim.page("health", "/readyz").await;
    println!("{text}");
    assert_eq!(status, 503);
    assert!(text.contains("shop/web ok\nshop/api cannot join"), "{text}");
    // With its identity there, the next try succeeds.
    machine.authority.identity(&machine.scratch, "api");
    shim.turns("/readyz/shop/api", 200).await;
    let answer = get(upstreams(&shim, "shop/web")[0]).await;
    assert_eq!((answer.0, answer.2.as_str()), (200, "HTTP/2.0"));
    let answer = get(upstreams(&shim, "shop/api")[0]).await;
    assert_eq!((answer.0, answer.2.as_str()), (200, "ok"));
    api.shutdown().await;
}

#[tokio::test]
async fn a_stop_drains_all_at_once_and_cuts_nobody() {
    let machine = Machine::new();
    let (web, api, redis) = (RawApp::new().await, h2c(), echo().await);
    let unready = Duration::from_secs(2);
    let batch = "shop/batch,upstream=web.shop@0";
    let api_app = machine.api(api.local_addr());
    let mut shim = machine.spawn(
        &[
            &machine.web(web.addr),
            &api_app,
            &machine.redis(redis),
            batch,
        ],
        &["--drain-unready", "2s", "--drain-in-flight", "20s"],
    );
    shim.ready().await;
    let asking = tokio::spawn(get(upstreams(&shim, "shop/batch")[0]));
    let mut slow = web.accept().await;
    slow.request().await;
    let began = Instant::now();
    shim.signal(Signal::TERM);
    let text = shim.turns("/readyz", 503).await;
    for name in ["web", "api", "redis", "batch"] {
        assert!(text.contains(&format!("shop/{name} draining")), "{text}");
    }
    // In flight beyond the time in which all are only unready: until nobody is let in any more.
    let port = shim.port("shop/web inbound");
    until("connections are refused", async || {
        TcpStream::connect(port).await.is_err()
    })
    .await;
    assert!(began.elapsed() >= unready, "{:?}", began.elapsed());
    let done = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";
    slow.send(done).await;
    let answer = asking.await.unwrap();
    assert_eq!((answer.0, answer.2.as_str()), (200, "done"));
    let code = shim.end().await.code();
    let took = began.elapsed();
    println!("four applications drained in {took:?}, each with {unready:?} unready");
    assert_eq!(code, Some(0));
    assert!(took < 4 * unready, "{took:?}");
    api.shutdown().await;
}

#[tokio::test]
async fn the_spans_of_all_go_out_at_the_end_side_by_side() {
    let machine = Machine::new();
    let web = Recorder::new(|_| ok()).await;
    // It takes connections and says nothing.
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", collector.local_addr().unwrap());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let keep = heard.clone();
    tokio::spawn(async move {
        while let Ok((io, _)) = collector.accept().await {
            keep.lock().unwrap().push(io);
        }
    });
    let callers = ["a", "b", "c", "d"].map(|name| {
        machine.authority.identity(&machine.scratch, name);
        format!("shop/{name},upstream=web.shop@0")
    });
    let web = machine.web(web.addr);
    let mut apps = vec![web.as_str()];
    apps.extend(callers.iter().map(String::as_str));
    let mut shim = machine.spawn_with(
        &apps,
        &["--drain-unready", "0s"],
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
    );
    shim.ready().await;
    for name in ["a", "b", "c", "d"] {
        let answer = get(upstreams(&shim, &format!("shop/{name}"))[0]).await;
        assert_eq!(answer.0, 200);
    }
    let began = Instant::now();
    shim.signal(Signal::TERM);
    assert_eq!(shim.end().await.code(), Some(0));
    let took = began.elapsed();
    let heard = heard.lock().unwrap().len();
    println!("five applications ended in {took:?}, and {heard} told a silent collector");
    assert_eq!(heard, 5);
    // 3 s for each one by one would be 15 s.
    assert!(took < Duration::from_secs(9), "{took:?}");
}

#[tokio::test]
async fn a_newcomer_may_speak_for_another_set_of_applications() {
    let machine = Machine::new();
    let (web, api, redis) = (Recorder::new(|_| ok()).await, h2c(), echo().await);
    let (web_app, redis_app) = (machine.web(web.addr), machine.redis(redis));
    let api_app = machine.api(api.local_addr());
    let socket = machine.scratch.at("sock");
    let more = ["--takeover", &socket, "--drain-unready", "100ms"];
    let mut first = machine.spawn(&[&redis_app, &web_app], &more);
    first.ready().await;
    let outbound = first.port("shop/web outbound");

    // One that cannot do all leaves it to the one that runs.
    let bad = api_app.clone() + ",identity=dir:/not/there";
    let mut unable = machine.spawn(&[&web_app, &bad], &more);
    let line = unable.line("shop/api: ").await;
    let code = unable.end().await.code();
    println!("a newcomer that cannot join for one: {line} (exit {code:?})");
    assert!(code.is_some_and(|code| code != 0));
    assert_eq!(first.page("health", "/readyz").await.0, 200);

    // In another order, one more and one fewer; the web's free port is the same one.
    let mut second = machine.spawn(&[&api_app, &web_app], &more);
    second.ready().await;
    assert_eq!(second.port("shop/web outbound"), outbound);
    assert_eq!(first.end().await.code(), Some(0));
    let answer = get(upstreams(&second, "shop/web")[0]).await;
    assert_eq!((answer.0, answer.2.as_str()), (200, "HTTP/2.0"));
    // Redis is nobody's any more.
    let gone = TcpStream::connect(("127.0.0.1", machine.redis)).await;
    assert!(gone.is_err(), "{gone:?}");
    // Also by a shim for that application alone.
    let policy = machine.scratch.at("policy.yaml");
    let identity = format!("dir:{}", machine.scratch.at("web"));
    let (port, inbound) = (web.addr.port().to_string(), machine.web.to_string());
    let any = "127.0.0.1:0";
    let mut args = vec!["--as", "shop/web", "--port", &port, "--inbound", &inbound];
    args.extend([
        "--outbound",
        any,
        "--policy",
        &policy,
        "--identity",
        &identity,
    ]);
    args.extend(["--health", any, "--metrics", any]);
    args.extend(more);
    let mut third = Shim::spawn(&args);
    third.ready().await;
    assert_eq!(third.port("outbound"), outbound);
    assert_eq!(second.end().await.code(), Some(0));
    third.signal(Signal::TERM);
    assert_eq!(third.end().await.code(), Some(0));
    api.shutdown().await;
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_at_once() {
    let machine = Machine::new();
    let state = machine.scratch.path().display().to_string();
    for (apps, more, expected) in [
        (
            &["shop/web=9000", "shop/api=9001"][..],
            &["--state", &state][..],
            "shop/web and shop/api have the same state",
        ),
        (
            &["shop/web=9000"],
            &["--port", "9000"],
            "--port (flag) with --app",
        ),
        (
            &["shop/web=9000", "shop/api=9001,inbound=7143,prot=tcp"],
            &[],
            "unknown key `prot`",
        ),
    ] {
        let mut shim = machine.spawn(apps, more);
        let line = shim.line(expected).await;
        println!("{line}");
        assert_eq!(shim.end().await.code(), Some(2));
    }
    for variable in [
        ("MESH_ADMIN", "127.0.0.1:0"),
        ("OTEL_SERVICE_NAME", "x"),
        ("MESH_SERVICE", "x"),
        ("MESH_SHIM_PORT", "1"),
    ] {
        let mut shim = machine.spawn_with(&["shop/web=9000"], &[], variable);
        let line = shim.line("M1003").await;
        println!("{line}");
        assert!(line.contains(variable.0), "{line}");
        assert_eq!(shim.end().await.code(), Some(2));
    }
    // None of them can join: as a single one, it ends.
    let none = "shop/web=9000,inbound=0,identity=dir:/not/there";
    let mut shim = machine.spawn(&[none], &[]);
    let line = shim.line("mesh-shim: shop/web: ").await;
    println!("{line}");
    assert_eq!(shim.end().await.code(), Some(1));
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let app = format!("shop/web=9000,inbound=127.0.0.1:{port}");
    let mut shim = machine.spawn(&[&app], &[]);
    let line = shim.line("M1004").await;
    println!("{line}");
    assert!(line.contains("inbound of shop/web"), "{line}");
    assert_eq!(shim.end().await.code(), Some(1));
}
