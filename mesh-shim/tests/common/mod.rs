//! What the tests of the real binary share: identities, the shim as a process, a caller.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod app;
pub(crate) mod pair;
pub(crate) mod wire;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rcgen::{CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

/// Long enough for a loaded machine; nothing waits for it when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A directory that is gone after the test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mesh-shim-test-{}-{next}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An authority of the trust domain `mesh.local`.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate and its key, as PEM.
pub(crate) struct Leaf {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    pub(crate) fn leaf(&self, namespace: &str, service: &str) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        let id = format!("spiffe://mesh.local/ns/{namespace}/sa/{service}");
        params.subject_alt_names = vec![SanType::URI(id.as_str().try_into().unwrap())];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.is_ca = IsCa::ExplicitNoCa;
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        Leaf {
            cert,
            key: key.serialize_pem(),
        }
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// The real binary, running. Asked twice to stop when dropped: killed, it would leave its
/// application behind.
pub(crate) struct Shim {
    pub(crate) child: Child,
    pub(crate) ports: Vec<(String, SocketAddr)>,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Shim {
    /// Starts it with `args` and ports of its own; does not wait.
    pub(crate) fn spawn(args: &[&str]) -> Self {
        Self::spawn_with(args, &[])
    }

    /// The same with variables.
    pub(crate) fn spawn_with(args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-shim"));
        for (name, _) in std::env::vars() {
            if name.starts_with("MESH_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(args)
            .env("NO_COLOR", "1")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::inherit())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self {
            child,
            ports: Vec::new(),
            lines,
        }
    }

    /// Waits for a line on standard error with `text` in it.
    pub(crate) async fn line(&mut self, text: &str) -> String {
        let mut seen = Vec::new();
        let found = tokio::time::timeout(PATIENCE, async {
            while let Ok(Some(line)) = self.lines.next_line().await {
                if line.contains(text) {
                    return Some(line);
                }
                seen.push(line);
            }
            None
        })
        .await;
        match found {
            Ok(Some(line)) => line,
            _ => panic!("no line with {text:?} in:\n{}", seen.join("\n")),
        }
    }

    /// Waits until it is ready and learns its ports.
    pub(crate) async fn ready(&mut self) {
        let line = self.line("ready: ").await;
        let ports = line.split("ready: ").nth(1).unwrap();
        // `[shop/web] inbound=...`, where there are several.
        let mut whose = String::new();
        self.ports.clear();
        for word in ports.split_whitespace() {
            if let Some((name, addr)) = word.split_once('=') {
                let addr = addr.parse().unwrap();
                self.ports.push((format!("{whose}{name}"), addr));
            } else {
                whose = match word.trim_matches(['[', ']']) {
                    "all" => String::new(),
                    name => format!("{name} "),
                };
            }
        }
    }

    pub(crate) fn port(&self, name: &str) -> SocketAddr {
        self.ports
            .iter()
            .find(|(found, _)| found == name)
            .unwrap()
            .1
    }

    /// The first explicit local port.
    pub(crate) fn upstream(&self) -> SocketAddr {
        self.port("upstream")
    }

    pub(crate) async fn metrics(&self) -> String {
        self.page("metrics", "/metrics").await.1
    }

    /// A page of the port `health` or `metrics`: its status and its text.
    pub(crate) async fn page(&self, port: &str, path: &str) -> (u16, String) {
        let mut wire = wire::Wire::connect(self.port(port)).await;
        let sent = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        wire.send(sent).await;
        let answer = wire.answer().await;
        (answer.head.status(), answer.text())
    }

    /// Waits until a page of the health port has this status.
    pub(crate) async fn turns(&self, path: &str, status: u16) -> String {
        let began = std::time::Instant::now();
        loop {
            let (found, text) = self.page("health", path).await;
            if found == status {
                return text;
            }
            assert!(began.elapsed() < PATIENCE, "{path} stays {found}: {text}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the metrics say so.
    pub(crate) async fn metric(&self, line: &str) {
        let began = std::time::Instant::now();
        loop {
            let text = self.metrics().await;
            if text.lines().any(|found| found == line) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "no {line:?} in:\n{text}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub(crate) async fn end(&mut self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .unwrap()
            .unwrap()
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        if self.child.id().is_some() {
            self.signal(rustix::process::Signal::TERM);
            self.signal(rustix::process::Signal::TERM);
        }
    }
}
