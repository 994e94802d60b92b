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
use common::{Scratch, Shim};
use rcgen::{CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// An authority that clients outside believe.
pub(crate) struct Public {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Public {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        // OpenSSL takes a leaf whose issuer has its own name for self-signed.
        let name = "an authority for tests";
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    /// A certificate for names, and its key.
    pub(crate) fn pair(&self, names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

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
    pub(crate) public: Public,
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
        let (scratch, public) = (Scratch::new(), Public::new());
        write_pair(&scratch, "www", &public.pair(&["www.example.com"]));
        write_pair(&scratch, "any", &public.pair(&["*.example.com"]));
        let api = public.pair(&["api.example.org"]);
        scratch.write("certificates/api/tls.crt", &api.0);
        scratch.write("certificates/api/tls.key", &api.1);
        scratch.write("ca.pem", &public.pem);
        let policy = scratch.write("policy.yaml", policy).display().to_string();
        let directory = scratch.path().join("certificates").display().to_string();
        let any = "127.0.0.1:0";
        let mut args = vec![
            "proxy",
            "--as",
            "shop/edge",
            "--outbound",
            "off",
            "--ingress",
            listen[0],
            "--ingress",
            listen[1],
            "--certificates",
            &directory,
            "--health",
            any,
            "--metrics",
            any,
            "--policy",
            &policy,
            "--drain-unready",
            "0s",
            "--drain-in-flight",
            "5s",
        ];
        args.extend(flags);
        let shim = Shim::spawn_with(&args, variables);
        Self {
            shim,
            public,
            scratch,
        }
    }

    /// The same again, to take over from the one that runs.
    pub(crate) fn successor(&self, flags: &[&str]) -> Shim {
        let policy = self
            .scratch
            .path()
            .join("policy.yaml")
            .display()
            .to_string();
        let directory = self.scratch.path().join("certificates");
        let directory = directory.display().to_string();
        let [health, metrics] = ["health", "metrics"].map(|name| self.shim.port(name).to_string());
        let tls = self.tls().to_string();
        let plaintext = format!("http://{}", self.plaintext());
        let mut args = vec![
            "proxy",
            "--as",
            "shop/edge",
            "--outbound",
            "off",
            "--ingress",
            &plaintext,
            "--ingress",
            &tls,
            "--certificates",
            &directory,
            "--health",
            &health,
            "--metrics",
            &metrics,
            "--policy",
            &policy,
        ];
        args.extend(flags);
        Shim::spawn(&args)
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

/// Each file moved into place, as tools do it.
pub(crate) fn write_pair(scratch: &Scratch, name: &str, pair: &(String, String)) {
    for (ending, text) in [("key", &pair.1), ("crt", &pair.0)] {
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
