use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use super::PATIENCE;
use super::wire::Wire;

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
        // With `--log json` the line goes on.
        let ports = ports.split('"').next().unwrap_or_default();
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
        let mut wire = Wire::connect(self.port(port)).await;
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

    /// Resident memory now, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let pid = self.child.id().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.unwrap().split_whitespace().nth(1);
        kib.unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        let pid = Pid::from_raw(pid).unwrap();
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
            self.signal(Signal::TERM);
            self.signal(Signal::TERM);
        }
    }
}
