//! What the tests of the real programs share: a scratch folder, processes, the control server as one, a member's
//! environment, a paced load.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod load;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mesh_tower::Mesh;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// Long enough for a loaded machine; nothing waits for it when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// A directory that is gone after the test. Short, because a Unix socket lies in it.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mesh-ex-{}-{next}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A program of this package without any `MESH_*` of the surroundings; killed when dropped.
pub(crate) fn program(path: &str) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars() {
        if name.starts_with("MESH_") {
            command.env_remove(name);
        }
    }
    if std::env::var_os("RUST_LOG").is_none() {
        // A line for each call would be most of the work of some tests.
        command.env("RUST_LOG", "warn");
    }
    command.kill_on_drop(true).stdin(Stdio::null());
    command
}

/// What a process says in one line: `ready key=value...`.
pub(crate) type Facts = BTreeMap<String, String>;

/// One process of the demo: `demo role ...`. It says `ready key=value...`, and stops when its standard input ends.
/// Killed when dropped.
pub(crate) struct Role {
    child: Child,
    pub(crate) facts: Facts,
    /// Becomes what it says of its calls at its end.
    served: JoinHandle<Facts>,
}

impl Role {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await.expect("text") {
                if let Some(facts) = line.strip_prefix("ready ") {
                    return facts.to_owned();
                }
            }
            panic!("the process ended before it was ready");
        };
        let ready = tokio::time::timeout(PATIENCE, ready).await;
        let facts = facts(&ready.expect("ready in time"));
        // Also because a full pipe would stop it.
        let served = tokio::spawn(async move {
            let mut served = Facts::new();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(said) = line.strip_prefix("served ") {
                    served = self::facts(said);
                }
            }
            served
        });
        Self {
            child,
            facts,
            served,
        }
    }

    /// A number of its `ready` line.
    pub(crate) fn number(&self, key: &str) -> u64 {
        self.facts[key].parse().expect("a number")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        let pid = pid.and_then(Pid::from_raw).expect("it is running");
        kill_process(pid, signal).expect("it is there");
    }

    /// SIGTERM; gives what it said of its calls when it has ended in order.
    pub(crate) async fn stop(mut self) -> Facts {
        self.signal(Signal::TERM);
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = ended.expect("it ends in time").expect("it was running");
        assert!(status.success(), "{status}");
        self.served.await.expect("read to the end")
    }

    /// `kill -9`.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("it was running");
    }
}

fn facts(line: &str) -> Facts {
    line.split_whitespace()
        .filter_map(|fact| fact.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The control server as a process of its own.
pub(crate) struct Control {
    role: Role,
    pub(crate) state: PathBuf,
}

impl Control {
    /// Starts it over `state` and waits until it is ready; port 0 takes a free one.
    pub(crate) async fn start(state: &Path, port: u16) -> Self {
        let mut command = program(env!("CARGO_BIN_EXE_demo"));
        command
            .args(["role", "control", "--state"])
            .arg(state)
            .args(["--listen", &port.to_string(), "--page", "0"]);
        Self {
            role: Role::start(command).await,
            state: state.to_owned(),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        let grpc = &self.role.facts["grpc"];
        grpc.rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok())
            .expect("an address")
    }

    /// Puts a member's way to this server into its environment.
    pub(crate) fn join(&self, command: &mut Command, state: &Path) {
        command
            .env(
                "MESH_CONTROL",
                format!("https://{}", self.role.facts["grpc"]),
            )
            .env(
                "MESH_IDENTITY",
                format!("token:{}", self.role.facts["token"]),
            )
            .env("MESH_STATE", state);
    }

    /// The join token.
    pub(crate) fn token(&self) -> String {
        std::fs::read_to_string(&self.role.facts["token"]).expect("its token")
    }

    /// A process `demo role hop` that has joined, with its state in `state`.
    pub(crate) async fn hop(&self, service: &str, state: &Path, args: &[&str]) -> Role {
        Role::start(self.hop_command(service, state, args)).await
    }

    /// How [`Control::hop`] is started: for one that starts when this server is gone.
    pub(crate) fn hop_command(&self, service: &str, state: &Path, args: &[&str]) -> Command {
        let mut hop = program(env!("CARGO_BIN_EXE_demo"));
        hop.args(["role", "hop", "--service", service]).args(args);
        self.join(&mut hop, state);
        hop
    }

    /// This test as a member of the mesh.
    pub(crate) async fn member(&self, service: &str, state: &Path) -> Mesh {
        let joined = mesh_grpc::Join::builder()
            .service(service)
            .without_env()
            .control(&format!("https://{}", self.role.facts["grpc"]))
            .identity(&format!("token:{}", self.role.facts["token"]))
            .state(state)
            .join();
        joined.await.expect("joined")
    }

    /// `meshctl policy apply`.
    pub(crate) async fn apply(&self, policy: &str) {
        let path = self.state.with_extension("policy.yaml");
        std::fs::write(&path, policy).expect("written");
        let (code, said) = self
            .meshctl(&["policy", "apply", &path.to_string_lossy()])
            .await;
        assert_eq!(code, 0, "{said}");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.role.signal(signal);
    }

    /// `kill -9`.
    pub(crate) async fn kill(self) {
        self.role.kill().await;
    }

    /// Runs `meshctl` against it: exit code and what it printed.
    pub(crate) async fn meshctl(&self, args: &[&str]) -> (u8, String) {
        let socket = format!("unix:{}", self.role.facts["admin"]);
        let first = ["meshctl", "--control", socket.as_str()];
        let text = Text::default();
        let all = first.iter().chain(args).map(|arg| (*arg).to_owned());
        let code = mesh_control::cli::run_into(all, text.clone(), text.clone()).await;
        (code, text.take())
    }

    /// The rows of `meshctl clients` for one service.
    pub(crate) async fn clients(&self, service: &str) -> Vec<serde_json::Value> {
        let (_, text) = self.meshctl(&["clients", "-o", "json"]).await;
        let rows: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let rows = rows.as_array().or_else(|| rows["clients"].as_array());
        let mine = |row: &&serde_json::Value| row["service"] == service;
        rows.expect("a list").iter().filter(mine).cloned().collect()
    }
}

/// What a program prints, wherever it prints it.
#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Text {
    fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock().expect("not poisoned"));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl std::io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .expect("not poisoned")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Asks until `done` is content, within [`PATIENCE`].
pub(crate) async fn until<F, Fut>(what: &str, mut ask: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let asked = async {
        let mut pause = tokio::time::interval(Duration::from_millis(50));
        loop {
            pause.tick().await;
            if ask().await {
                return;
            }
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, asked).await.is_ok(),
        "never: {what}"
    );
}
