//! One shim that speaks for several applications, and the control server.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use axum::Router;
use http::HeaderMap;
use mesh_tower::Mesh;
use mesh_tower::server::ServerHandle;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::alone;
use crate::common::{Control, Role, Scratch, program, until};

/// After it a process that said nothing is taken for dead.
pub(crate) const LEASE: Duration = Duration::from_secs(15);

/// An application in plaintext, which tells how it was called.
pub(crate) fn app() -> ServerHandle {
    let mesh = Mesh::builder("app").build().expect("a mesh");
    let server = mesh.server().bind("127.0.0.1:0").expect("a port");
    let answer = async |headers: HeaderMap| {
        let host = headers.get("host").and_then(|host| host.to_str().ok());
        format!("you asked {}", host.unwrap_or("-"))
    };
    let app = Router::new().fallback(answer);
    server.serve(app).expect("a server")
}

/// Status and body.
async fn get(addr: &str, path: &str) -> (u16, String) {
    let addr: SocketAddr = addr.parse().expect("an address");
    let mut io = TcpStream::connect(addr).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    io.write_all(request.as_bytes()).await.expect("written");
    let mut answer = String::new();
    io.read_to_string(&mut answer).await.expect("an answer");
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status.expect("a status"), body.to_owned())
}

pub(crate) fn shim(control: &Control, state: &Path, apps: &[String]) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_demo"));
    command.args(["role", "shim", "--"]);
    for app in apps {
        command.arg("--app").arg(app);
    }
    let any = "127.0.0.1:0";
    command.args([
        "--health",
        any,
        "--metrics",
        any,
        "--drain-unready",
        "300ms",
    ]);
    command.arg("--takeover").arg(state.join("sock"));
    control.join(&mut command, &state.join("{namespace}/{name}"));
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_one_process_and_its_applications_are_members_each() {
    let _alone = alone().await;
    let scratch = Scratch::new();
    let control = Control::start(&scratch.path("c"), 0).await;
    control
        .apply(
            "apiVersion: v1\nkind: Service\nmetadata: { name: api, namespace: shop }\nspec: {}\n---\n\
             apiVersion: policy.mesh/v1alpha1\nkind: AccessPolicy\n\
             metadata: { name: api, namespace: shop }\n\
             spec: { targetRefs: [{ kind: Service, name: api }], mode: Enforce, \
             allow: [{ from: [{ service: web }] }] }\n",
        )
        .await;
    // What the control server does not let in.
    let token = control.token();
    let hash = token.trim().rsplit('.').next().expect("a hash");
    let bad = scratch.path("bad.token");
    std::fs::write(&bad, format!("mesh1.{}.{hash}\n", "x".repeat(43))).expect("written");

    let app = app();
    let port = app.local_addr().port();
    let web = "shop/web,upstream=api.shop@0".to_owned();
    let batch = "shop/batch,upstream=api.shop@0".to_owned();
    let api = format!("shop/api={port},inbound=127.0.0.1:0");
    let rogue = format!(
        "shop/rogue={port},inbound=127.0.0.1:0,identity=token:{}",
        bad.display()
    );
    let state = scratch.path("s");
    std::fs::create_dir_all(&state).expect("made");
    let first = [web.clone(), batch, api, rogue];
    let first = Role::start(shim(&control, &state, &first)).await;
    let inbound = first.facts["shop/api.inbound"].clone();
    until("the application is registered", async || {
        let (_, rows) = control.meshctl(&["endpoints", "api.shop"]).await;
        rows.contains(&inbound)
    })
    .await;

    let (status, body) = get(&first.facts["shop/web.upstream"], "/").await;
    let denied = get(&first.facts["shop/batch.upstream"], "/").await;
    println!("web: {status} {body:?}, batch: {denied:?}");
    assert_eq!((status, body.as_str()), (200, "you asked api.shop"));
    assert!(denied.0 == 403 && denied.1.contains("M4001"), "{denied:?}");
    let (status, text) = get(&first.facts["health"], "/readyz").await;
    println!("{text}");
    assert_eq!(status, 503, "{text}");
    assert!(
        text.contains("shop/api ok") && text.contains("shop/rogue cannot join"),
        "{text}"
    );
    for service in ["shop/web", "shop/batch", "shop/api"] {
        let clients = control.clients(service).await;
        assert_eq!(clients.len(), 1, "{service}: {clients:?}");
    }
    assert!(control.clients("shop/rogue").await.is_empty());

    // A newcomer that no longer speaks for the application: its entry goes, and nothing else does.
    let second = Role::start(shim(&control, &state, &[web])).await;
    assert_eq!(
        second.facts["shop/web.upstream"],
        first.facts["shop/web.upstream"]
    );
    let began = Instant::now();
    until("its entry is taken back", async || {
        let (_, rows) = control.meshctl(&["endpoints", "api.shop"]).await;
        !rows.contains(&inbound)
    })
    .await;
    let took = began.elapsed();
    println!("what the newcomer does not speak for left the registry after {took:?}");
    assert!(took < LEASE / 2, "{took:?}: lost, and not taken back");
    until("the first shim's applications are gone", async || {
        control.clients("shop/batch").await.is_empty()
    })
    .await;
    second.stop().await;
    app.shutdown().await;
}
