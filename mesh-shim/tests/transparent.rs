//! Transparent mode between two network namespaces, which the test makes and takes away again. Where
//! it may not (no root, no `ip`, no nft or iptables, no python3) it says so and shows nothing.

mod common;

use std::process::{Command, Stdio};

use common::{PATIENCE, Scratch};
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// Requests on 80, a greeting on 2222 and 6379.
const SERVER: &str = r#"
import http.server, socket, socketserver, threading

class Web(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ("asked for " + self.headers.get("host", "-")).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

class Greets(socketserver.BaseRequestHandler):
    def handle(self):
        port = self.server.server_address[1]
        self.request.sendall(("hello from %d to %s\n" % (port, self.client_address[0])).encode())

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True

class Server6(Server):
    address_family = socket.AF_INET6

class Web4(http.server.ThreadingHTTPServer):
    pass

class Web6(Web4):
    address_family = socket.AF_INET6

def run(server):
    threading.Thread(target=server.serve_forever, daemon=True).start()

for port in (2222, 6379):
    run(Server(("10.77.0.2", port), Greets))
    if socket.has_ipv6:
        run(Server6(("fd77::2", port), Greets))
if socket.has_ipv6:
    run(Web6(("fd77::2", 80), Web))
web = Web4(("10.77.0.2", 80), Web)
print("up", flush=True)
web.serve_forever()
"#;

const POLICY: &str = r#"
apiVersion: v1
kind: Service
metadata: { name: reviews, namespace: shop }
spec: { endpoints: { static: [{ address: "10.77.0.2:80" }] } }
---
apiVersion: v1
kind: Service
metadata: { name: redis, namespace: shop }
spec:
  ports: [{ port: 6379, appProtocol: tcp }]
  endpoints: { static: [{ address: "10.77.0.2:6379" }] }
---
apiVersion: v1
kind: Service
metadata: { name: reviews6, namespace: shop }
spec: { endpoints: { static: [{ address: "[fd77::2]:80" }] } }
---
apiVersion: v1
kind: Service
metadata: { name: redis6, namespace: shop }
spec:
  ports: [{ port: 6379, appProtocol: tcp }]
  endpoints: { static: [{ address: "[fd77::2]:6379" }] }
"#;

fn run(command: &str) -> Result<String, String> {
    let mut words = command.split_whitespace();
    let done = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .map_err(|error| format!("{command}: {error}"))?;
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
        false => Err(format!(
            "{command}: {}",
            String::from_utf8_lossy(&done.stderr)
        )),
    }
}

/// Two namespaces, joined, with what runs in them.
struct Net {
    client: String,
    server: String,
    children: Vec<tokio::process::Child>,
}

impl Net {
    fn new() -> Result<Self, String> {
        for tool in ["python3 --version", "bash --version"] {
            run(tool)?;
        }
        if run("nft --version").is_err() {
            run("iptables --version")?;
        }
        let pid = std::process::id();
        let net = Self {
            client: format!("mesh{pid}a"),
            server: format!("mesh{pid}b"),
            children: Vec::new(),
        };
        let (a, b) = (&net.client, &net.server);
        for command in [
            format!("ip netns add {a}"),
            format!("ip netns add {b}"),
            format!("ip -n {a} link add v0 type veth peer name v0 netns {b}"),
            format!("ip -n {a} addr add 10.77.0.1/24 dev v0"),
            format!("ip -n {b} addr add 10.77.0.2/24 dev v0"),
            // Without duplicate detection: the addresses are good at once.
            format!("ip -n {a} addr add fd77::1/64 dev v0 nodad"),
            format!("ip -n {b} addr add fd77::2/64 dev v0 nodad"),
            format!("ip -n {a} link set lo up"),
            format!("ip -n {a} link set v0 up"),
            format!("ip -n {b} link set lo up"),
            format!("ip -n {b} link set v0 up"),
        ] {
            run(&command)?;
        }
        // The kernel may lack what rules need.
        net.shim("init --mark 1337")?;
        net.shim("undo")?;
        Ok(net)
    }

    /// `mesh-shim` in the client's namespace, to its end.
    fn shim(&self, args: &str) -> Result<String, String> {
        let binary = env!("CARGO_BIN_EXE_mesh-shim");
        run(&format!("ip netns exec {} {binary} {args}", self.client))
    }

    /// Starts a program and waits for a line of it.
    async fn start(&mut self, namespace: &str, program: &[&str], says: &str) -> String {
        let mut child = tokio::process::Command::new("ip")
            .args(["netns", "exec", namespace])
            .args(program)
            .env("NO_COLOR", "1")
            .env("MESH_LOG", "warn,mesh_shim=info,mesh::access=off")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        let err = BufReader::new(child.stderr.take().unwrap()).lines();
        self.children.push(child);
        let (mut out, mut err) = (out, err);
        let mut seen = Vec::new();
        let line = tokio::time::timeout(PATIENCE, async {
            loop {
                let line = tokio::select! {
                    Ok(Some(line)) = out.next_line() => line,
                    Ok(Some(line)) = err.next_line() => line,
                    else => return None,
                };
                if line.contains(says) {
                    return Some(line);
                }
                seen.push(line);
            }
        })
        .await;
        // What it says later must have a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = err.next_line().await {} });
        match line {
            Ok(Some(line)) => line,
            _ => panic!("no line with {says:?} in:\n{}", seen.join("\n")),
        }
    }

    /// Sends from the client's namespace and gives what comes back.
    fn ask(&self, addr: &str, port: u16, text: &str) -> String {
        let script =
            format!("exec 3<>/dev/tcp/{addr}/{port} && printf '{text}' >&3 && timeout 10 cat <&3");
        let done = Command::new("ip")
            .args(["netns", "exec", &self.client, "bash", "-c", &script])
            .output()
            .unwrap();
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    fn get(&self, addr: &str, port: u16, host: &str) -> String {
        let text = format!("GET / HTTP/1.1\\r\\nhost: {host}\\r\\nconnection: close\\r\\n\\r\\n");
        self.ask(addr, port, &text)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.start_kill();
        }
        for namespace in [&self.client, &self.server] {
            let _ = run(&format!("ip netns del {namespace}"));
        }
    }
}

#[tokio::test]
async fn an_unchanged_client_in_its_own_namespace_uses_the_mesh() {
    let mut net = match Net::new() {
        Ok(net) => net,
        Err(why) => {
            println!("skipped: network namespaces cannot be made here: {why}");
            return;
        }
    };
    let scratch = Scratch::new();
    let script = scratch.write("server.py", SERVER).display().to_string();
    let policy = scratch.write("policy.yaml", POLICY).display().to_string();
    let (client, server) = (net.client.clone(), net.server.clone());
    net.start(&server, &["python3", &script], "up").await;
    let direct = net.get("10.77.0.2", 80, "10.77.0.2");
    assert!(direct.ends_with("asked for 10.77.0.2"), "{direct}");

    let any = "127.0.0.1:0";
    let shim = [
        env!("CARGO_BIN_EXE_mesh-shim"),
        "proxy",
        "--as",
        "shop/web",
        "--outbound",
        "off",
        "--transparent",
        "127.0.0.1:7141",
        "--mark",
        "1337",
        "--health",
        any,
        "--metrics",
        "127.0.0.1:7191",
        "--policy",
        &policy,
    ];
    net.start(&client, &shim, "ready: ").await;
    let told = net.shim("init --mark 1337 --exclude-port 22").unwrap();
    assert!(told.contains("7141"), "{told}");
    let once = net.shim("init --mark 1337 --exclude-port 22").unwrap();
    assert_eq!(told, once, "twice is as once");
    let page = |net: &Net| {
        net.ask(
            "127.0.0.1",
            7191,
            "GET /metrics HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n",
        )
    };

    // By its address: an endpoint of the policy, whatever the Host.
    let got = net.get("10.77.0.2", 80, "10.77.0.2");
    assert!(got.ends_with("asked for reviews.shop"), "{got}");
    // By its Host: nobody has this address.
    let got = net.get("10.77.0.3", 80, "reviews.shop");
    assert!(got.ends_with("asked for reviews.shop"), "{got}");
    // Bytes of the policy, where the server speaks first.
    let got = net.ask("10.77.0.2", 6379, "");
    assert_eq!(got, "hello from 6379 to 10.77.0.1\n");
    // Unknown to the policy: unchanged.
    let got = net.ask("10.77.0.2", 2222, "");
    assert_eq!(got, "hello from 2222 to 10.77.0.1\n");
    // To the listener itself: no loop.
    assert_eq!(net.ask("127.0.0.1", 7141, "x"), "");

    // The same over IPv6.
    let got = net.get("fd77::2", 80, "[fd77::2]");
    assert!(got.ends_with("asked for reviews6.shop"), "{got}");
    let got = net.get("fd77::3", 80, "reviews6.shop");
    assert!(got.ends_with("asked for reviews6.shop"), "{got}");
    let got = net.ask("fd77::2", 6379, "");
    assert_eq!(got, "hello from 6379 to fd77::1\n");
    let got = net.ask("fd77::2", 2222, "");
    assert_eq!(got, "hello from 2222 to fd77::1\n");
    assert_eq!(net.ask("::1", 7141, "x"), "");

    let text = page(&net);
    for line in [
        "mesh_calls_total{service=\"shop/reviews\",route=\"reviews/default\",class=\"success\",status=\"200\",error_type=\"\"} 2",
        "mesh_tcp_connections_total{direction=\"outbound\",service=\"shop/redis\",result=\"opened\"} 1",
        "mesh_calls_total{service=\"shop/reviews6\",route=\"reviews6/default\",class=\"success\",status=\"200\",error_type=\"\"} 2",
        "mesh_tcp_connections_total{direction=\"outbound\",service=\"shop/redis6\",result=\"opened\"} 1",
        "mesh_tcp_connections_total{direction=\"outbound\",service=\"(passed)\",result=\"opened\"} 2",
        "mesh_tcp_connections_total{direction=\"outbound\",service=\"(unknown)\",result=\"no_route\"} 2",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    println!(
        "IPv4 and IPv6: two requests by address and by Host, bytes, and one connection passed unchanged"
    );

    net.shim("undo").unwrap();
    net.shim("undo").unwrap();
    for (addr, host) in [("10.77.0.2", "10.77.0.2"), ("fd77::2", "[fd77::2]")] {
        let direct = net.get(addr, 80, host);
        assert!(direct.ends_with(&format!("asked for {host}")), "{direct}");
    }

    // Where IPv6 is off, that is said, and IPv4 is redirected.
    let off = "sysctl -w net.ipv6.conf.all.disable_ipv6=1";
    run(&format!("ip netns exec {client} {off}")).unwrap();
    let told = net.shim("init --mark 1337").unwrap();
    assert!(told.starts_with("# IPv6 is off here"), "{told}");
    assert!(!told.contains("ip6"), "{told}");
    let got = net.get("10.77.0.2", 80, "10.77.0.2");
    assert!(got.ends_with("asked for reviews.shop"), "{got}");
    net.shim("undo").unwrap();
}
