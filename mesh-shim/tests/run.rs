//! `mesh-shim run` with real Python applications, called over mutual TLS. Without python3 these
//! tests have nothing to show and say so.

mod common;

use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use common::authority::instance;
use common::pair::LOCAL;
use common::programs::installed;
use common::{Authority, Scratch, Shim, free_port, until};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use mesh_tower::server::ServerHandle;
use mesh_tower::{Mesh, MeshBody};
use rustix::process::Signal;
use tower_service::Service as _;

/// An application with what the tests need: a slow answer, calls through http_proxy, signals.
const APP: &str = r#"
import http.server, os, signal, sys, threading, time, urllib.request

class App(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"hello " + self.headers.get("host", "-").encode()
        if self.path.startswith("/slow"):
            open(sys.argv[1] + "/slow", "w").close()
            time.sleep(1)
        if self.path.startswith("/ask"):
            body = urllib.request.urlopen("http://ratings.shop/7", timeout=10).read()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

def term(*_):
    open(sys.argv[1] + "/term", "w").close()
    os._exit(5)

def hup(*_):
    open(sys.argv[1] + "/hup", "w").close()

signal.signal(signal.SIGTERM, term)
signal.signal(signal.SIGHUP, hup)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
"#;

struct World {
    scratch: Scratch,
    authority: Authority,
    app: u16,
}

impl World {
    /// `None` where there is no python3.
    fn new() -> Option<Self> {
        if !installed("python3") {
            return None;
        }
        let world = Self {
            scratch: Scratch::new(),
            authority: Authority::new(),
            app: free_port(),
        };
        world.authority.identity(&world.scratch, "legacy");
        world.scratch.write("app.py", APP);
        world.policy(None);
        Some(world)
    }

    /// The shim's policy file: it may know `ratings`.
    fn policy(&self, ratings: Option<SocketAddr>) {
        let endpoints = ratings.map_or(String::new(), |addr| {
            let identity = "spiffe://mesh.local/ns/shop/sa/ratings";
            format!(
                "endpoints: {{ static: [{{ address: \"{addr}\", identity: \"{identity}\" }}] }}"
            )
        });
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{ name: ratings, namespace: shop }}\n\
             spec: {{ {endpoints} }}\n"
        );
        self.scratch.write("policy.yaml", &text);
    }

    fn spawn(&self, app: &[&str]) -> Shim {
        self.spawn_with(&["--port", &self.app.to_string()], app)
    }

    fn spawn_with(&self, more: &[&str], app: &[&str]) -> Shim {
        let identity = format!("dir:{}", self.scratch.at("legacy"));
        let policy = self.scratch.at("policy.yaml");
        let mut args = vec!["run", "--as", "shop/legacy"];
        args.extend(LOCAL);
        args.extend(["--workers", "2", "--drain-in-flight", "20s"]);
        args.extend(["--identity", &identity, "--policy", &policy]);
        args.extend(more);
        args.push("--");
        args.extend(app);
        Shim::spawn(&args)
    }

    async fn start(&self) -> Shim {
        let script = self.scratch.at("app.py");
        let dir = self.scratch.path().display().to_string();
        let mut shim = self.spawn(&["python3", &script, &dir]);
        shim.ready().await;
        shim
    }

    /// A service that answers `five stars`.
    fn ratings(&self) -> ServerHandle {
        let mesh = Mesh::builder("shop/ratings")
            .credentials(self.authority.credentials("ratings"))
            .build()
            .unwrap();
        let server = mesh.server().bind("127.0.0.1:0").unwrap();
        let answer = tower::service_fn(async |_: Request<MeshBody>| {
            Ok::<_, std::convert::Infallible>(Response::new(MeshBody::full("five stars")))
        });
        server.serve(answer).unwrap()
    }

    /// A Rust service that calls the application.
    fn caller(&self, shim: &Shim) -> Mesh {
        Mesh::builder("shop/web")
            .credentials(self.authority.credentials("web"))
            .endpoint_infos("shop/legacy", [instance("legacy", shim.port("inbound"))])
            .build()
            .unwrap()
    }
}

async fn get(mesh: &Mesh, path: &str) -> (StatusCode, String) {
    let request = Request::get(format!("http://legacy.shop{path}"))
        .body(Empty::<Bytes>::new())
        .unwrap();
    let answer = mesh.client("legacy.shop").call(request).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

async fn appears(path: &Path) {
    until(&format!("{} appears", path.display()), async || {
        path.exists()
    })
    .await;
}

#[tokio::test]
async fn an_unchanged_http_server_is_called_over_mutual_tls() {
    let Some(world) = World::new() else { return };
    world
        .scratch
        .write("files/hello.txt", "hello from a file\n");
    let files = world.scratch.at("files");
    let port = world.app.to_string();
    let server = [
        "python3",
        "-m",
        "http.server",
        &port,
        "--bind",
        "127.0.0.1",
        "--directory",
        &files,
    ];
    let mut shim = world.spawn(&server);
    shim.ready().await;
    let mesh = world.caller(&shim);
    assert_eq!(
        get(&mesh, "/hello.txt").await,
        (StatusCode::OK, "hello from a file\n".into())
    );
    assert_eq!(get(&mesh, "/missing").await.0, StatusCode::NOT_FOUND);
    shim.signal(Signal::TERM);
    // http.server has no handler: the signal ends it.
    assert_eq!(shim.end().await.code(), Some(128 + 15));
}

#[tokio::test]
async fn the_application_calls_the_mesh_through_http_proxy() {
    let Some(world) = World::new() else { return };
    let ratings = world.ratings();
    world.policy(Some(ratings.local_addr()));
    let shim = world.start().await;
    let mesh = world.caller(&shim);
    assert_eq!(
        get(&mesh, "/ask").await,
        (StatusCode::OK, "five stars".into())
    );
}

#[tokio::test]
async fn a_stop_lets_a_request_in_flight_end_and_then_tells_the_application() {
    let Some(world) = World::new() else { return };
    let mut shim = world.start().await;
    let mesh = world.caller(&shim);
    let slow = tokio::spawn(async move { get(&mesh, "/slow").await });
    appears(&world.scratch.path().join("slow")).await;
    shim.signal(Signal::TERM);
    let (status, _) = slow.await.unwrap();
    assert_eq!(status, StatusCode::OK);
    // The application decides its exit code.
    assert_eq!(shim.end().await.code(), Some(5));
    assert!(world.scratch.path().join("term").exists());
}

/// A job: its first act is a call through the mesh, then it waits for a signal, and says by its code
/// what it has seen.
const JOB: &str = r#"
import signal, sys, time, urllib.request
seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append("usr1"))
signal.signal(signal.SIGINT, lambda *_: seen.append("int"))
stars = urllib.request.urlopen("http://ratings.shop/7", timeout=10).read()
open(sys.argv[1] + "/asked", "w").close()
while not seen:
    time.sleep(0.01)
sys.exit(23 if seen == ["usr1"] and stars == b"five stars" else 1)
"#;

#[tokio::test]
async fn a_job_starts_when_the_mesh_is_there_gets_its_signal_and_ends_the_shim_with_its_code() {
    let Some(world) = World::new() else { return };
    let ratings = world.ratings();
    world.policy(Some(ratings.local_addr()));
    world.scratch.write("job.py", JOB);
    let script = world.scratch.at("job.py");
    let dir = world.scratch.path().display().to_string();
    // It has no port: nobody calls a job, and nobody waits for it.
    let mut shim = world.spawn_with(&[], &["python3", &script, &dir]);
    appears(&world.scratch.path().join("asked")).await;
    shim.signal(Signal::USR1);
    // Nobody has asked the shim to stop: it ends because the job has.
    assert_eq!(shim.end().await.code(), Some(23));
}

#[tokio::test]
async fn hup_is_passed_on_and_the_end_of_the_application_ends_the_shim() {
    let Some(world) = World::new() else { return };
    let mut shim = world.start().await;
    shim.signal(Signal::HUP);
    appears(&world.scratch.path().join("hup")).await;
    // The application's own end, not asked for by the shim: its pid is not known here, so the port
    // tells whose process it is; SIGTERM twice is the impatient stop.
    shim.signal(Signal::TERM);
    shim.signal(Signal::TERM);
    assert_eq!(shim.end().await.code(), Some(5));
}

#[tokio::test]
async fn a_crash_of_the_application_is_the_exit_code() {
    let Some(world) = World::new() else { return };
    let mut shim = world.spawn(&["sh", "-c", "exit 7"]);
    assert_eq!(shim.end().await.code(), Some(7));
    let mut shim = world.spawn(&["sh", "-c", "kill -9 $$"]);
    assert_eq!(shim.end().await.code(), Some(128 + 9));
}

#[tokio::test]
async fn health_and_metrics_answer_on_ports_of_their_own() {
    let Some(world) = World::new() else { return };
    let mut shim = world.spawn(&["sh", "-c", "sleep 60"]);
    // The port never accepts: live, not ready. A stop must still work.
    shim.line("waiting for the application").await;
    shim.signal(Signal::TERM);
    assert_eq!(shim.end().await.code(), Some(128 + 15));

    let shim = world.start().await;
    for (port, path, text) in [
        ("health", "/livez", "ok"),
        ("health", "/readyz", "ok"),
        ("metrics", "/metrics", "mesh_shim_tunnels_total"),
    ] {
        let answer = plain(shim.port(port), path).await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains(text),
            "{answer}"
        );
    }
}

async fn plain(addr: SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn what_cannot_start_says_its_code_and_the_next_step() {
    let mut shim = Shim::spawn(&["--port", "9000"]);
    shim.line("[M1003]").await;
    shim.line("next: ").await;
    assert_eq!(shim.end().await.code(), Some(2));

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let mut shim = Shim::spawn(&[
        "--as",
        "x",
        "--outbound",
        &addr,
        "--health",
        "0",
        "--metrics",
        "0",
    ]);
    shim.line("[M1004]").await;
    assert_eq!(shim.end().await.code(), Some(1));
}
