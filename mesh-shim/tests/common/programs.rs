//! Real programs, as clients and as applications. One that is not installed is named and skipped;
//! `.ci/run` installs them.

#![allow(clippy::print_stdout, reason = "says what is skipped")]

use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::{Scratch, free_port, until};

/// Longer than anything takes.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// Python with `grpcio` and `websockets`: `CLIENTS_PYTHON`, or `python3`.
pub(crate) fn python(module: &str) -> Option<String> {
    let python = std::env::var("CLIENTS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let import = format!("import {module}");
    let found = succeeds(&python, &["-c", &import]);
    if !found {
        println!(
            "skipped: {python} has no {module} (pip install grpcio websockets, or set CLIENTS_PYTHON)"
        );
    }
    found.then_some(python)
}

/// Whether a program is there; says so if not.
pub(crate) fn installed(program: &str) -> bool {
    let found = succeeds(program, &["--version"]);
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

fn succeeds(program: &str, args: &[&str]) -> bool {
    std::process::Command::new(program)
        .args(args)
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Runs a program to its end, whatever that is.
pub(crate) async fn attempt(program: &str, args: &[&str]) -> Output {
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
    tokio::time::timeout(LONG, command.output())
        .await
        .unwrap_or_else(|_| panic!("{program} {args:?} does not end"))
        .unwrap()
}

/// Runs a program to its end, which must be a good one, and gives its standard output.
pub(crate) async fn run(program: &str, args: &[&str]) -> String {
    let output = attempt(program, args).await;
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
    pub(crate) addr: SocketAddr,
    _scratch: Scratch,
}

impl PythonApp {
    /// Starts a script with its port as the argument; does not wait.
    pub(crate) fn start(python: &str, script: &str) -> Self {
        let scratch = Scratch::new();
        let path = scratch.write("app.py", script);
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
            addr: SocketAddr::from(([127, 0, 0, 1], port)),
            _scratch: scratch,
        }
    }

    /// Waits until it takes connections. A shim with an application of its own does that by itself.
    pub(crate) async fn accepts(&self) {
        let addr = self.addr;
        until("the application accepts", async || {
            TcpStream::connect(addr).await.is_ok()
        })
        .await;
    }
}
