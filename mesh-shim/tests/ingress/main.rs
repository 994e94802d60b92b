//! The ingress of the real binary, with clients outside the mesh.

#![allow(clippy::print_stdout, reason = "says what is skipped, and the figures")]

#[path = "../common/mod.rs"]
mod common;

mod certificates;
mod client;
mod hostile;
mod hosts;
mod life;
mod messages;
mod passthrough;
mod programs;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use common::app::Recorder;
use common::authority::Leaf;
use common::{Authority, Scratch, Shim};

/// A service with one instance in plaintext.
pub(crate) fn service(name: &str, at: SocketAddr) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: shop }}\n\
         spec: {{ endpoints: {{ static: [{{ address: \"{at}\" }}] }} }}\n---\n"
    )
}

/// A route of the ingress: hosts, and the rest of its one rule.
pub(crate) fn route(name: &str, hosts: &[&str], rule: &str) -> String {
    let hosts = match hosts {
        [] => String::new(),
        hosts => format!("  hostnames: [{}]\n", quoted(hosts)),
    };
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: {name}, namespace: shop }}\n\
         spec:\n  parentRefs: [{{ group: \"\", kind: Service, name: edge }}]\n{hosts}  rules: [{{ {rule} }}]\n---\n"
    )
}

fn quoted(texts: &[&str]) -> String {
    let mut all = String::new();
    for text in texts {
        let _ = write!(all, "\"{text}\", ");
    }
    all
}

/// To one service.
pub(crate) fn to(service: &str) -> String {
    format!("backendRefs: [{{ name: {service}, port: 80 }}]")
}

/// With TLS and without.
const ANY: [&str; 2] = ["127.0.0.1:0", "http://127.0.0.1:0"];

/// An ingress with its files.
pub(crate) struct Edge {
    pub(crate) shim: Shim,
    /// Whom the clients outside believe.
    pub(crate) public: Authority,
    pub(crate) scratch: Scratch,
}

impl Edge {
    /// With certificates for `www.example.com`, `*.example.com` and `api.example.org`.
    pub(crate) async fn start(policy: &str, flags: &[&str]) -> Self {
        let mut edge = Self::spawn(policy, flags, ANY, &[]);
        edge.shim.ready().await;
        edge
    }

    /// The same with a line in the log for each request, which the test has to read.
    pub(crate) async fn start_logging(policy: &str, flags: &[&str]) -> Self {
        let mut edge = Self::spawn(
            policy,
            flags,
            ANY,
            &[("MESH_LOG", "info,mesh::access=info")],
        );
        edge.shim.ready().await;
        edge
    }

    pub(crate) fn spawn(
        policy: &str,
        flags: &[&str],
        listen: [&str; 2],
        variables: &[(&str, &str)],
    ) -> Self {
        let (scratch, public) = (Scratch::new(), Authority::new());
        write_pair(&scratch, "www", &public.hosts(&["www.example.com"]));
        write_pair(&scratch, "any", &public.hosts(&["*.example.com"]));
        let api = public.hosts(&["api.example.org"]);
        scratch.write("certificates/api/tls.crt", &api.cert);
        scratch.write("certificates/api/tls.key", &api.key);
        scratch.write("ca.pem", &public.pem);
        scratch.write("policy.yaml", policy);
        let own = ["127.0.0.1:0"; 2];
        let drains = ["--drain-unready", "0s", "--drain-in-flight", "5s"];
        let flags = [&drains[..], flags].concat();
        let shim = shim(&scratch, listen, own, &flags, variables);
        Self {
            shim,
            public,
            scratch,
        }
    }

    /// The same again, to take over from the one that runs.
    pub(crate) fn successor(&self, flags: &[&str]) -> Shim {
        let listen = [
            format!("http://{}", self.plaintext()),
            self.tls().to_string(),
        ];
        let own = ["health", "metrics"].map(|name| self.shim.port(name).to_string());
        let (listen, own) = (listen.each_ref(), own.each_ref());
        shim(
            &self.scratch,
            listen.map(String::as_str),
            own.map(String::as_str),
            flags,
            &[],
        )
    }

    pub(crate) fn tls(&self) -> SocketAddr {
        self.shim.port("ingress")
    }

    pub(crate) fn plaintext(&self) -> SocketAddr {
        self.shim.port("ingress-http")
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.scratch.path().join("ca.pem")
    }
}

/// An ingress with the files in `scratch`: where it listens, its ports for health and metrics, more flags.
fn shim(
    scratch: &Scratch,
    listen: [&str; 2],
    own: [&str; 2],
    flags: &[&str],
    variables: &[(&str, &str)],
) -> Shim {
    let [policy, certificates] = ["policy.yaml", "certificates"].map(|name| scratch.at(name));
    let mut args = vec!["proxy", "--as", "shop/edge", "--outbound", "off"];
    args.extend(["--ingress", listen[0], "--ingress", listen[1]]);
    args.extend(["--health", own[0], "--metrics", own[1]]);
    args.extend(["--policy", &policy, "--certificates", &certificates]);
    args.extend(flags);
    Shim::spawn_with(&args, variables)
}

/// Each file moved into place, as tools do it.
pub(crate) fn write_pair(scratch: &Scratch, name: &str, pair: &Leaf) {
    for (ending, text) in [("key", &pair.key), ("crt", &pair.cert)] {
        let next = scratch.write(&format!("certificates/{name}.{ending}.next"), text);
        let path = scratch.path().join(format!("certificates/{name}.{ending}"));
        std::fs::rename(next, path).unwrap();
    }
}

/// An application that says its name.
pub(crate) async fn named(name: &'static str) -> Recorder {
    Recorder::new(move |_| {
        let length = name.len();
        let head = "x-mesh-retried: 1\r\nmesh-reason: M4001\r\nx-own: kept\r\n";
        let answer = format!("HTTP/1.1 200 OK\r\n{head}content-length: {length}\r\n\r\n{name}");
        (answer.into_bytes(), false)
    })
    .await
}
