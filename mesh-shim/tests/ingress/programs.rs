//! Real programs as clients. One that is not installed is named and skipped; `.ci/run` installs them.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::common::{PATIENCE, Scratch, free_port};
use crate::{Edge, named, route, service, to};

const WWW: &str = "www.example.com";

fn installed(program: &str) -> bool {
    let found = std::process::Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

/// Python with a module: `CLIENTS_PYTHON`, or `python3`.
fn python(module: &str) -> Option<String> {
    let python = std::env::var("CLIENTS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found = std::process::Command::new(&python)
        .args(["-c", &format!("import {module}")])
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        println!("skipped: {python} has no {module}");
    }
    found.then_some(python)
}

/// Standard output, and whether it went well.
async fn run(program: &str, args: &[&str]) -> (String, bool) {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    for name in [
        "http_proxy",
        "https_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    ] {
        command.env_remove(name);
    }
    let output = tokio::time::timeout(PATIENCE * 2, command.output());
    let output = output.await.expect("an end").unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (format!("{text}{errors}"), output.status.success())
}

#[tokio::test]
async fn curl_reaches_two_hosts_with_two_certificates() {
    if !installed("curl") {
        return;
    }
    let (web, api) = (named("web").await, named("api").await);
    let policy = service("web", web.addr)
        + &service("api", api.addr)
        + &route("www", &["*.example.com"], &to("web"))
        + &route("api", &["api.example.org"], &to("api"));
    let edge = Edge::start(&policy, &["--https-redirect=8443"]).await;
    let (port, ca) = (edge.tls().port(), edge.ca().display().to_string());
    let curl = async |more: &[&str], host: &str| {
        let resolve = format!("{host}:{port}:127.0.0.1");
        let url = format!("https://{host}:{port}/");
        let mut args = vec!["-sS", "--cacert", &ca, "--resolve", &resolve];
        args.extend(more);
        args.push(&url);
        run("curl", &args).await
    };
    for version in ["--http1.1", "--http2"] {
        for (host, expected) in [
            (WWW, "web"),
            ("a.example.com", "web"),
            ("api.example.org", "api"),
        ] {
            let (body, ok) = curl(&[version], host).await;
            assert!(ok && body == expected, "{host}: {body}");
            println!("curl {version} https://{host} -> {body}");
        }
    }
    let code = ["-o", "/dev/null", "-w", "%{http_code}"];
    for host in ["payments.shop", "api.example.org.evil.org"] {
        let (text, ok) = curl(&code, host).await;
        println!("curl https://{host}: {text}");
        assert!(!ok && text.contains("unrecognized name"), "{text}");
    }
    let mut misdirected = code.to_vec();
    misdirected.extend(["-H", "Host: payments.shop"]);
    assert_eq!(curl(&misdirected, WWW).await.0, "421");
    let plaintext = format!("http://{}/x", edge.plaintext());
    let redirect = [
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code} %{redirect_url}",
        "-H",
        "Host: www.example.com",
        &plaintext,
    ];
    assert_eq!(
        run("curl", &redirect).await.0,
        "308 https://www.example.com:8443/x"
    );
}

const WEBSOCKET: &str = r#"
import asyncio, ssl, sys
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

async def echo(socket):
    async for message in socket:
        await socket.send(message)

async def main():
    if sys.argv[1] == "server":
        async with serve(echo, "127.0.0.1", int(sys.argv[2]), max_size=1 << 24) as server:
            await server.serve_forever()
    context = ssl.create_default_context(cafile=sys.argv[3])
    url = "wss://www.example.com:%s/ws" % sys.argv[2]
    async with connect(url, host="127.0.0.1", port=int(sys.argv[2]), ssl=context, max_size=1 << 24) as socket:
        for message in ["one", b"x" * 1000000]:
            await socket.send(message)
            assert await socket.recv() == message
    print("echoed")

asyncio.run(main())
"#;

#[tokio::test]
async fn a_websocket_goes_through_the_tls_of_the_ingress() {
    let Some(python) = python("websockets") else {
        return;
    };
    let scratch = Scratch::new();
    let script = scratch.write("ws.py", WEBSOCKET).display().to_string();
    let port = free_port();
    let mut server = Command::new(&python)
        .args([&script, "server", &port.to_string()])
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    accepts(port).await;
    let at = ([127, 0, 0, 1], port).into();
    let policy = service("web", at) + &route("www", &[WWW], &to("web"));
    let edge = Edge::start(&policy, &[]).await;
    let (tls, ca) = (
        edge.tls().port().to_string(),
        edge.ca().display().to_string(),
    );
    let (said, ok) = run(&python, &[&script, "client", &tls, &ca]).await;
    assert!(ok && said.contains("echoed"), "{said}");
    println!("1,000,003 bytes echoed over wss");
    server.kill().await.unwrap();
}

const GRPC: &str = r#"
import sys
from concurrent import futures
import grpc

if sys.argv[1] == "server":
    def both(requests, context):
        for r in requests:
            yield b"re " + r
    def unary(request, context):
        left = context.time_remaining()
        return b"%d" % (left is not None and left < 9)
    h = grpc.method_handlers_generic_handler("test.Kinds", {
        "Both": grpc.stream_stream_rpc_method_handler(both),
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
    })
    s = grpc.server(futures.ThreadPoolExecutor(8))
    s.add_generic_rpc_handlers((h,))
    s.add_insecure_port("127.0.0.1:" + sys.argv[2])
    s.start()
    s.wait_for_termination()

credentials = grpc.ssl_channel_credentials(open(sys.argv[3], "rb").read())
def channel(host):
    return grpc.secure_channel("127.0.0.1:" + sys.argv[2], credentials, options=(
        ("grpc.ssl_target_name_override", host), ("grpc.default_authority", host)))
c = channel("www.example.com")
got = list(c.stream_stream("/test.Kinds/Both")(iter([b"a", b"b"]), timeout=10))
assert got == [b"re a", b"re b"], got
assert c.unary_unary("/test.Kinds/Unary")(b"", timeout=8) == b"1"
try:
    channel("other.example.com").unary_unary("/test.Kinds/Unary")(b"", timeout=8)
    raise SystemExit("no such host")
except grpc.RpcError as e:
    assert e.code() == grpc.StatusCode.UNIMPLEMENTED, e
print("done")
"#;

#[tokio::test]
async fn grpc_goes_through_the_ingress() {
    let Some(python) = python("grpc") else {
        return;
    };
    let scratch = Scratch::new();
    let script = scratch.write("kinds.py", GRPC).display().to_string();
    let port = free_port();
    let mut server = Command::new(&python)
        .args([&script, "server", &port.to_string()])
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    accepts(port).await;
    let at = ([127, 0, 0, 1], port).into();
    let grpc = service("web", at).replace(
        "spec: {",
        "spec: { ports: [{ port: 80, appProtocol: grpc }],",
    );
    let policy = grpc + &route("www", &[WWW], &to("web")).replace("HTTPRoute", "GRPCRoute");
    let edge = Edge::start(&policy, &[]).await;
    let (tls, ca) = (
        edge.tls().port().to_string(),
        edge.ca().display().to_string(),
    );
    let (said, ok) = run(&python, &[&script, "client", &tls, &ca]).await;
    assert!(ok && said.contains("done"), "{said}");
    println!("gRPC by TLS: a bidirectional stream, a deadline, an unknown host");
    server.kill().await.unwrap();
}

async fn accepts(port: u16) {
    let began = std::time::Instant::now();
    while tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .is_err()
    {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
