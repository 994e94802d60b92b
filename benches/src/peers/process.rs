//! Processes under measurement: pinned to a core, watched through `/proc`, and gone when dropped.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Long enough for a loaded machine; nothing waits for it when all is well.
const START: Duration = Duration::from_secs(20);
/// Time to end in order, under a profiler too. A proxy whose clients have gone has little to do.
const END: Duration = Duration::from_secs(10);

/// A process of its own, with its descendants.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

/// Starts `program` on `core`, with what it says in `log`.
///
/// # Errors
///
/// When it cannot be started, or `taskset` is not there.
pub fn start(
    core: usize,
    program: &Path,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    log: &Path,
) -> io::Result<Process> {
    let out = File::create(log)?;
    let mut command = Command::new("taskset");
    for (name, _) in std::env::vars() {
        if name.starts_with("MESH_") {
            command.env_remove(name);
        }
    }
    let child = command
        .args(["-c", &core.to_string()])
        .arg(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .spawn()?;
    let name = program
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let log = log.to_owned();
    Ok(Process { child, name, log })
}

// === impl Process ===

impl Process {
    /// Waits until `addr` accepts.
    ///
    /// # Errors
    ///
    /// When the process has ended, or does not accept within 20 s.
    pub fn wait_for(&mut self, addr: SocketAddr) -> io::Result<()> {
        let until = Instant::now() + START;
        loop {
            let accepts = TcpStream::connect_timeout(&addr, Duration::from_secs(1)).is_ok();
            self.alive()?;
            if accepts {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(io::Error::other(format!(
                    "{} does not accept on {addr}",
                    self.name
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// An error with what it said, if it has ended.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn alive(&mut self) -> io::Result<()> {
        let Some(status) = self.child.try_wait()? else {
            return Ok(());
        };
        let name = &self.name;
        Err(io::Error::other(format!(
            "{name} ended, {status}: {}",
            self.said()
        )))
    }

    /// The end of what it has said.
    pub fn said(&self) -> String {
        const MOST: usize = 4_096;
        let said = fs::read(&self.log).unwrap_or_default();
        let end = &said[said.len().saturating_sub(MOST)..];
        String::from_utf8_lossy(end).into_owned()
    }

    /// CPU time of all its threads and descendants so far, user and kernel.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn cpu(&self) -> io::Result<Duration> {
        let mut nanos = 0;
        for pid in self.family()? {
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
                let first = text.split_whitespace().next();
                nanos += first.and_then(|n| n.parse().ok()).unwrap_or(0);
            }
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Resident memory of it and its descendants, in MiB.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn resident(&self) -> io::Result<f64> {
        let mut kib = 0_u32;
        for pid in self.family()? {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            kib += field(&status, "VmRSS:").unwrap_or(0);
        }
        Ok(f64::from(kib) / 1024.0)
    }

    /// It and all its descendants.
    pub(super) fn family(&self) -> io::Result<Vec<u32>> {
        let mut parents = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let entry = entry?;
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|n| n.parse::<u32>().ok())
            else {
                continue;
            };
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            parents.push((pid, field(&status, "PPid:").unwrap_or(0)));
        }
        let mut family = vec![self.child.id()];
        let mut at = 0;
        while let Some(parent) = family.get(at).copied() {
            family.extend(
                parents
                    .iter()
                    .filter(|(_, p)| *p == parent)
                    .map(|(pid, _)| pid),
            );
            at += 1;
        }
        Ok(family)
    }
}

fn field(status: &str, name: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

impl Drop for Process {
    /// Asked to end, as a supervisor would, so that a profile can be written; and made to after a while.
    fn drop(&mut self) {
        // Descendants first: a killed parent leaves them behind.
        let family = self.family().unwrap_or_default();
        signal(&family, Signal::TERM);
        let until = Instant::now() + END;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        signal(family.get(1..).unwrap_or_default(), Signal::KILL);
    }
}

fn signal(family: &[u32], signal: Signal) {
    for pid in family.iter().rev() {
        if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_watched_with_its_children_and_leaves_nothing_behind() {
        let log = std::env::temp_dir().join(format!("peers-process-{}", std::process::id()));
        let shell = Path::new("/bin/sh");
        let script = "sleep 60 & while :; do :; done";
        let process = start(0, shell, ["-c", script], &log).unwrap();
        let until = Instant::now() + START;
        while process.family().unwrap().len() < 2 || process.cpu().unwrap().is_zero() {
            assert!(Instant::now() < until, "the shell does not start");
            std::thread::yield_now();
        }
        assert!(process.resident().unwrap() > 0.1);
        let family = process.family().unwrap();
        drop(process);
        for pid in family {
            // Killed, and gone as soon as the kernel gets to it.
            let gone = || {
                let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                status.is_empty() || status.contains("(zombie)")
            };
            while !gone() {
                assert!(Instant::now() < until, "{pid} is still there");
                std::thread::yield_now();
            }
        }
        fs::remove_file(log).unwrap();
    }
}
