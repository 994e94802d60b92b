//! One process of the demo: started with a pipe each way, and told to stop when this is dropped.
//!
//! The child says `ready key=value...` once, then `stats key=value...` now and then. It is told
//! things by lines on its standard input, and stops when that ends: so no child outlives the demo,
//! however the demo ends.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;

use super::census::RUN;

/// A variable with the name of the process, for tables.
pub(crate) const NAME: &str = "SHOP_DEMO_NAME";

/// Key and value of one line.
pub(crate) type Facts = BTreeMap<String, String>;

/// From the start of a process until it must have said `ready`.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// A stop that was asked for may take this long.
const STOP_WITHIN: Duration = Duration::from_secs(8);

/// How a process is started.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Name in messages and of its log file, like `reviews-v1#2`.
    pub(crate) name: String,
    /// Arguments after `demo role`.
    pub(crate) args: Vec<String>,
    /// Environment beyond the inherited one.
    pub(crate) env: Vec<(&'static str, String)>,
    /// The run, see [`RUN`].
    pub(crate) run: String,
    /// Directory for the log.
    pub(crate) logs: PathBuf,
}

/// A child of the demo.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    ready: Facts,
    stats: watch::Receiver<Facts>,
}

impl Process {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start(plan: &Plan) -> Result<Self, String> {
        let failed = |what: String| format!("{}: {what}{}", plan.name, tail(&plan.log()));
        let mut child = plan
            .spawn()
            .map_err(|error| failed(format!("cannot start: {error}")))?;
        let stdin = child.stdin.take();
        let Some(stdout) = child.stdout.take() else {
            return Err(failed("no pipe".into()));
        };
        let mut lines = BufReader::new(stdout).lines();
        let ready = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(facts) = line.strip_prefix("ready") {
                    return Some(parse(facts));
                }
            }
            None
        };
        let ready = match tokio::time::timeout(READY_WITHIN, ready).await {
            Ok(Some(ready)) => ready,
            Ok(None) => return Err(failed("ended before it was ready".into())),
            Err(_) => return Err(failed(format!("not ready within {READY_WITHIN:?}"))),
        };
        let (sender, stats) = watch::channel(Facts::new());
        tokio::spawn(read_stats(lines, sender));
        Ok(Self {
            name: plan.name.clone(),
            child,
            stdin,
            ready,
            stats,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A value of its `ready` line.
    pub(crate) fn fact(&self, key: &str) -> Result<&str, String> {
        let value = self.ready.get(key).map(String::as_str);
        value.ok_or_else(|| format!("{}: said no `{key}` when it was ready", self.name))
    }

    /// A number of its last `stats` line; 0 before there is one.
    pub(crate) fn stat(&self, key: &str) -> u64 {
        self.stats
            .borrow()
            .get(key)
            .and_then(|value| value.parse().ok())
            .unwrap_or(0)
    }

    /// Tells it something. A process that is gone is told nothing.
    pub(crate) async fn tell(&mut self, line: &str) {
        if let Some(stdin) = &mut self.stdin {
            let _ = stdin.write_all(format!("{line}\n").as_bytes()).await;
            let _ = stdin.flush().await;
        }
    }

    /// SIGKILL, and wait for the end.
    pub(crate) async fn kill(mut self) {
        let _ = self.child.kill().await;
    }

    /// Lets it stop in order; kills it when it does not. True when it stopped by itself.
    pub(crate) async fn stop(mut self) -> bool {
        drop(self.stdin.take());
        match tokio::time::timeout(STOP_WITHIN, self.child.wait()).await {
            Ok(_) => true,
            Err(_) => {
                let _ = self.child.kill().await;
                false
            }
        }
    }
}

impl Plan {
    fn log(&self) -> PathBuf {
        self.logs.join(format!("{}.log", self.name))
    }

    fn spawn(&self) -> io::Result<Child> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new(std::env::current_exe()?);
        // What the user's shell has set for another mesh must not reach this one.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("MESH_") {
                command.env_remove(name);
            }
        }
        command
            .arg("role")
            .args(&self.args)
            .env(RUN, &self.run)
            .env(NAME, &self.name)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            // A Ctrl-C at the terminal is for the demo, which then stops all in order.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
    }
}

async fn read_stats(
    mut lines: tokio::io::Lines<BufReader<ChildStdout>>,
    sender: watch::Sender<Facts>,
) {
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(facts) = line.strip_prefix("stats") {
            sender.send_replace(parse(facts));
        }
    }
}

/// ` a=1 b=2` as a map. Values have no spaces.
fn parse(text: &str) -> Facts {
    text.split_whitespace()
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The last lines of a log, to say why.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(8)..];
    last.iter().map(|line| format!("\n    {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_keys_and_values() {
        let facts = parse(" addr=127.0.0.1:1 x=a=b junk");
        assert_eq!(facts["addr"], "127.0.0.1:1");
        assert_eq!(facts["x"], "a=b");
        assert_eq!(facts.len(), 2);
    }
}
