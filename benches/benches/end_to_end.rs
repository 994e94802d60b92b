//! What the whole client stack costs over the bare hyper client that it is made of.
//!
//! One upstream in a process of its own; both clients in this one, on one thread, in rounds that take turns, so that
//! a machine whose speed drifts slows both. The figure is CPU time per request, user and kernel, of the client's thread.
//!
//! ```sh
//! cargo bench -p mesh-benches --bench end_to_end                # the table
//! cargo bench -p mesh-benches --bench end_to_end -- --assert    # fails above 1.5x
//! benches/instructions                                          # the same by instruction count (valgrind)
//! ```

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use mesh_benches::{bare::BareClient, cpu, upstream};
use mesh_tower::{Mesh, MeshClient};
use tokio::runtime::Runtime;
use tower_service::Service;

/// Most that the stack may cost, as a multiple of the bare client.
const LIMIT: f64 = 1.5;
const ROUNDS: usize = 15;
const REQUESTS: usize = 4_000;

/// The upstream process; killed when dropped, and it ends by itself when its standard input closes.
struct Upstream {
    child: Child,
    addr: SocketAddr,
}

impl Upstream {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .arg("--serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts again");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("the upstream says its address");
        let addr = line.trim().parse().expect("an address");
        Self { child, addr }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve() {
    let (listener, addr) = upstream::bind();
    println!("{addr}");
    std::io::stdout().flush().expect("a pipe");
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_line(&mut String::new());
        std::process::exit(0);
    });
    upstream::serve(listener);
}

fn request(authority: &str) -> Request<Full<Bytes>> {
    Request::get(format!("http://{authority}/reviews/7"))
        .header("accept", "application/json")
        .body(Full::default())
        .expect("a valid request")
}

async fn bare_call(client: &BareClient) {
    let mut request = request("upstream.shop");
    request
        .headers_mut()
        .insert("host", http::HeaderValue::from_static("upstream.shop"));
    *request.uri_mut() = http::Uri::from_static("/reviews/7");
    let body = client
        .call(request)
        .await
        .into_body()
        .collect()
        .await
        .expect("a body");
    assert_eq!(body.to_bytes(), upstream::ANSWER);
}

async fn mesh_call(client: &mut MeshClient) {
    let response = client
        .call(request("upstream.shop"))
        .await
        .expect("an answer");
    let body = response.into_body().collect().await.expect("a body");
    assert_eq!(body.to_bytes(), upstream::ANSWER);
}

/// A mesh with everything on that is on by default, and a route with a timeout and retries.
fn mesh(addr: SocketAddr) -> Mesh {
    let policy = format!(
        "apiVersion: policy.mesh/v1alpha1\nkind: Service\nmetadata: {{ name: upstream, namespace: shop }}\n\
         spec:\n  ports: [{{ port: 80 }}]\n  endpoints: {{ static: [{{ address: \"{addr}\" }}] }}\n---\n\
         service: shop/upstream\nroute:\n- timeout: 6s\n  attemptTimeout: 2s\n  retry: {{ attempts: 2, codes: [503] }}\n"
    );
    Mesh::builder("shop/bench")
        .policy_text(&policy)
        .build()
        .unwrap_or_else(|e| panic!("{e:#}"))
}

/// CPU time per request of `concurrency` callers that make `REQUESTS` calls together.
async fn round<F, Fut>(concurrency: usize, requests: usize, call: F) -> Duration
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = ()> + 'static,
{
    let before = cpu::thread_time();
    let callers: Vec<_> = (0..concurrency)
        .map(|_| tokio::task::spawn_local(call(requests / concurrency)))
        .collect();
    for caller in callers {
        caller.await.expect("no caller panics");
    }
    (cpu::thread_time() - before) / u32::try_from(requests).expect("a small number")
}

async fn compare(addr: SocketAddr, concurrency: usize) -> f64 {
    let mesh = mesh(addr);
    let client = mesh.client("upstream.shop");
    let bare = Arc::new(BareClient::new(addr));
    let bare_round = |n| {
        let bare = Arc::clone(&bare);
        async move {
            for _ in 0..n {
                bare_call(&bare).await;
            }
        }
    };
    let mesh_round = |n| {
        let mut client = client.clone();
        async move {
            for _ in 0..n {
                mesh_call(&mut client).await;
            }
        }
    };
    round(concurrency, REQUESTS, bare_round).await;
    round(concurrency, REQUESTS, mesh_round).await;
    let (mut bares, mut meshes, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let bare = round(concurrency, REQUESTS, bare_round).await.as_secs_f64() * 1e6;
        let mesh = round(concurrency, REQUESTS, mesh_round).await.as_secs_f64() * 1e6;
        bares.push(bare);
        meshes.push(mesh);
        ratios.push(mesh / bare);
    }
    let ratio = cpu::median(&mut ratios);
    println!(
        "{concurrency:>11}  {:>9.2} us  {:>9.2} us  {ratio:>6.2}",
        cpu::median(&mut bares),
        cpu::median(&mut meshes),
    );
    ratio
}

/// One subject alone, for a count of instructions: everything that happens once is done before [`counted`].
fn alone(runtime: &Runtime, addr: SocketAddr, subject: &str, requests: usize) {
    if subject == "bare" {
        let bare = BareClient::new(addr);
        runtime.block_on(bare_call(&bare));
        counted(runtime, async {
            for _ in 0..requests {
                bare_call(&bare).await;
            }
        });
    } else {
        let (_mesh, mut client) = runtime.block_on(async {
            let mesh = mesh(addr);
            let mut client = mesh.client("upstream.shop");
            mesh_call(&mut client).await;
            (mesh, client)
        });
        counted(runtime, async {
            for _ in 0..requests {
                mesh_call(&mut client).await;
            }
        });
    }
}

/// What `benches/instructions` counts: valgrind is told this name.
#[inline(never)]
fn counted(runtime: &Runtime, work: impl Future<Output = ()>) {
    runtime.block_on(work);
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let value = |flag: &str| {
        args.iter()
            .position(|arg| arg == flag)
            .and_then(|at| args.get(at + 1))
            .cloned()
    };
    if has("--serve") {
        serve();
        return ExitCode::SUCCESS;
    }
    let upstream = Upstream::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let local = tokio::task::LocalSet::new();
    if let Some(subject) = value("--subject") {
        let requests = value("--requests")
            .and_then(|n| n.parse().ok())
            .unwrap_or(1_000);
        alone(&runtime, upstream.addr, &subject, requests);
        return ExitCode::SUCCESS;
    }
    println!(
        "CPU time per request of the client's thread, {ROUNDS} rounds of {REQUESTS} requests each, medians"
    );
    println!("concurrency    bare hyper         mesh   ratio");
    let ratios = local.block_on(&runtime, async {
        [
            compare(upstream.addr, 1).await,
            compare(upstream.addr, 32).await,
        ]
    });
    let worst = ratios.into_iter().fold(0.0, f64::max);
    if has("--assert") && worst > LIMIT {
        eprintln!("the client stack costs {worst:.2}x the bare client, more than {LIMIT}x");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
