//! Real clients through a pair of shims with mutual TLS between them. A client that is not installed
//! is named and skipped; `.ci/run` installs them.

#![allow(clippy::print_stdout, reason = "says what is skipped, and the figures")]

#[path = "../common/mod.rs"]
mod common;

mod browser;
mod curl;
mod grpc;
mod large;
mod websocket;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use common::app::Recorder;
use common::{Scratch, free_port};
use tokio::process::{Child, Command};

/// Longer than anything takes.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// Python with `grpcio` and `websockets`: `CLIENTS_PYTHON`, or `python3`.
pub(crate) fn python(module: &str) -> Option<String> {
    let python = std::env::var("CLIENTS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let import = format!("import {module}");
    let found = std::process::Command::new(&python)
        .args(["-c", &import])
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        println!(
            "skipped: {python} has no {module} (pip install grpcio websockets, or set CLIENTS_PYTHON)"
        );
    }
    found.then_some(python)
}

/// Whether a program is there; says so if not.
pub(crate) fn installed(program: &str) -> bool {
    let found = std::process::Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

/// Runs a program to its end; fails with what it said.
pub(crate) async fn run(program: &str, args: &[&str]) -> String {
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
    let output = tokio::time::timeout(LONG, command.output())
        .await
        .unwrap_or_else(|_| panic!("{program} {args:?} does not end"))
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {args:?}: {}\n{text}\n{errors}",
        output.status
    );
    text
}

/// An application in Python, behind a port.
pub(crate) struct PythonApp {
    pub(crate) child: Child,
    pub(crate) port: u16,
    _scratch: Scratch,
}

impl PythonApp {
    /// Starts a script with its port as the argument; the shim waits until it accepts.
    pub(crate) fn start(python: &str, script: &str) -> Self {
        let scratch = Scratch::new();
        let path: PathBuf = scratch.write("app.py", script);
        let port = free_port();
        let child = Command::new(python)
            .arg(path)
            .arg(port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            child,
            port,
            _scratch: scratch,
        }
    }
}

/// Answers by path, and keeps what it has seen.
pub(crate) async fn files() -> Recorder {
    Recorder::new(|request| {
        let path = request.head.line.split(' ').nth(1).unwrap_or("").to_owned();
        let body = match path.as_str() {
            "/size" => request.body.len().to_string().into_bytes(),
            "/large" => vec![b'x'; 8 << 20],
            _ => b"hello".to_vec(),
        };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut answer = head.into_bytes();
        if !request.head.line.starts_with("HEAD ") {
            answer.extend(body);
        }
        (answer, false)
    })
    .await
}
