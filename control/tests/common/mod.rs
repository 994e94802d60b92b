//! What the integration tests share: scratch directories, a server process, `meshctl`, HTTP GET.

#![allow(dead_code, unreachable_pub)]

pub mod member;
mod text;

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mesh_control::server::{Config, Running, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use self::text::Text;

/// Longest wait for anything that should happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A directory that goes away at the end. Its path is short: a socket's address must fit.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mc-{}-{number}", std::process::id()));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).unwrap();
        }
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server in this process, on free ports.
pub fn config(scratch: &Scratch) -> Config {
    let mut config = Config::new(scratch.path().join("state"));
    config.listen = "127.0.0.1:0".parse().unwrap();
    config.page = "127.0.0.1:0".parse().unwrap();
    config
}

pub async fn start(scratch: &Scratch) -> Running {
    Server::start(config(scratch)).await.unwrap()
}

/// A `mesh-control` process. Killed when dropped.
pub struct Process {
    child: Child,
    pub grpc: SocketAddr,
    pub page: SocketAddr,
    pub state: PathBuf,
    /// The first line that it wrote.
    pub first_line: String,
}

impl Process {
    pub fn start(state: &Path, more: &[&str]) -> Self {
        Self::start_at(state, "127.0.0.1:0", more)
    }

    /// With the gRPC port at `listen`, as after a restart.
    pub fn start_at(state: &Path, listen: &str, more: &[&str]) -> Self {
        let mut child = command(state)
            .args(["--listen", listen, "--page", "127.0.0.1:0"])
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut first_line = String::new();
        loop {
            let mut line = String::new();
            assert!(
                lines.read_line(&mut line).unwrap() > 0,
                "it ended: {first_line}"
            );
            if line.starts_with("mesh-control: ") {
                first_line = line;
                break;
            }
            first_line.push_str(&line);
        }
        // The pipe is emptied for as long as it lives, so that it never blocks on its own log.
        std::thread::spawn(move || io::copy(&mut lines, &mut io::sink()));
        let word = |after: &str| {
            let rest = first_line
                .split(after)
                .nth(1)
                .unwrap_or_else(|| panic!("{first_line}"));
            rest.split_whitespace().next().unwrap().parse().unwrap()
        };
        let (grpc, page) = (word("grpc https://"), word("page http://"));
        Self {
            child,
            grpc,
            page,
            state: state.to_owned(),
            first_line,
        }
    }

    pub fn socket(&self) -> String {
        format!("unix:{}", self.state.join("admin.sock").display())
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; returns the exit code.
    pub fn terminate(mut self) -> Option<i32> {
        let killed = Command::new("kill")
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(killed.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `mesh-control` over a state directory, with nothing of the surrounding environment.
pub fn command(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-control"));
    command
        .env_clear()
        .arg("--state-dir")
        .arg(state)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Runs a command that should end by itself; one that does not is killed and the test fails.
pub fn output(command: &mut Command) -> (Option<i32>, String) {
    let mut child = command
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut streams = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        io::Read::read_to_string(&mut streams.1, &mut text).unwrap();
        io::Read::read_to_string(&mut streams.0, &mut text).unwrap();
        text
    });
    let (done, waiting) = std::sync::mpsc::channel();
    let id = child.id().to_string();
    std::thread::spawn(move || {
        if waiting.recv_timeout(PATIENCE).is_err() {
            let _ = Command::new("kill").args(["-9", &id]).status();
        }
    });
    let text = reader.join().unwrap();
    let code = child.wait().unwrap().code();
    let _ = done.send(());
    (code, text)
}

/// Exit code, standard output, standard error.
pub async fn meshctl(socket: &str, args: &[&str]) -> (u8, String, String) {
    let (out, err) = (Text::default(), Text::default());
    let args = ["meshctl", "--control", socket]
        .into_iter()
        .chain(args.iter().copied());
    let exit = mesh_control::cli::run_into(args, out.clone(), err.clone()).await;
    (exit, out.take(), err.take())
}

/// Asks until the answer is as wanted; fails with the last answer.
pub async fn eventually<T: std::fmt::Debug>(
    mut ask: impl AsyncFnMut() -> T,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let start = Instant::now();
    loop {
        let answer = ask().await;
        if wanted(&answer) {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "still {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Status line, head and body of `GET path`.
pub async fn get(addr: SocketAddr, path: &str, host: &str) -> (u16, String, String) {
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}
