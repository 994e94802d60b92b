//! Real programs as clients of the ingress.

use std::process::Output;

use crate::common::Scratch;
use crate::common::programs::{PythonApp, attempt, installed, python, run};
use crate::{Edge, named, route, service, to};

const WWW: &str = "www.example.com";

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
        attempt("curl", &args).await
    };
    let said = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    for version in ["--http1.1", "--http2"] {
        for (host, expected) in [
            (WWW, "web"),
            ("a.example.com", "web"),
            ("api.example.org", "api"),
        ] {
            let output = curl(&[version], host).await;
            let body = said(&output);
            assert!(output.status.success(), "{host}: {output:?}");
            assert_eq!(body, expected, "{host}");
            println!("curl {version} https://{host} -> {body}");
        }
    }
    let code = ["-o", "/dev/null", "-w", "%{http_code}"];
    for host in ["payments.shop", "api.example.org.evil.org"] {
        let output = curl(&code, host).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        println!("curl https://{host}: {errors}");
        assert!(!output.status.success(), "{output:?}");
        assert!(errors.contains("unrecognized name"), "{errors}");
    }
    let mut misdirected = code.to_vec();
    misdirected.extend(["-H", "Host: payments.shop"]);
    assert_eq!(said(&curl(&misdirected, WWW).await), "421");
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
    let redirected = run("curl", &redirect).await;
    assert_eq!(redirected, "308 https://www.example.com:8443/x");
}

const ECHO: &str = r#"
import asyncio, sys
from websockets.asyncio.server import serve

async def echo(socket):
    async for message in socket:
        await socket.send(message)

async def main():
    async with serve(echo, "127.0.0.1", int(sys.argv[1]), max_size=1 << 24) as server:
        await server.serve_forever()

asyncio.run(main())
"#;

const ECHO_CLIENT: &str = r#"
import asyncio, ssl, sys
from websockets.asyncio.client import connect

async def main():
    port, roots = sys.argv[1:]
    context = ssl.create_default_context(cafile=roots)
    url = "wss://www.example.com:%s/ws" % port
    async with connect(url, host="127.0.0.1", port=int(port), ssl=context, max_size=1 << 24) as socket:
        for message in ["one", b"x" * 1000000]:
            await socket.send(message)
            assert await socket.recv() == message
    print("echoed")

asyncio.run(main())
"#;

/// Runs a script in Python with the port of the ingress and its authority.
async fn client(python: &str, script: &str, edge: &Edge) -> String {
    let scratch = Scratch::new();
    let script = scratch.write("client.py", script).display().to_string();
    let port = edge.tls().port().to_string();
    let roots = edge.ca().display().to_string();
    run(python, &[&script, &port, &roots]).await
}

#[tokio::test]
async fn a_websocket_goes_through_the_tls_of_the_ingress() {
    let Some(python) = python("websockets") else {
        return;
    };
    let app = PythonApp::start(&python, ECHO);
    app.accepts().await;
    let policy = service("web", app.addr) + &route("www", &[WWW], &to("web"));
    let edge = Edge::start(&policy, &[]).await;
    let said = client(&python, ECHO_CLIENT, &edge).await;
    assert!(said.contains("echoed"), "{said}");
    println!("1,000,003 bytes echoed over wss");
}

const GRPC: &str = r#"
import sys
from concurrent import futures
import grpc

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
s.add_insecure_port("127.0.0.1:" + sys.argv[1])
s.start()
s.wait_for_termination()
"#;

const GRPC_CLIENT: &str = r#"
import sys
import grpc

port, roots = sys.argv[1:]
credentials = grpc.ssl_channel_credentials(open(roots, "rb").read())
def channel(host):
    return grpc.secure_channel("127.0.0.1:" + port, credentials, options=(
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
    let app = PythonApp::start(&python, GRPC);
    app.accepts().await;
    let grpc = service("web", app.addr).replace(
        "spec: {",
        "spec: { ports: [{ port: 80, appProtocol: grpc }],",
    );
    let policy = grpc + &route("www", &[WWW], &to("web")).replace("HTTPRoute", "GRPCRoute");
    let edge = Edge::start(&policy, &[]).await;
    let said = client(&python, GRPC_CLIENT, &edge).await;
    assert!(said.contains("done"), "{said}");
    println!("gRPC by TLS: a bidirectional stream, a deadline, an unknown host");
}
