//! The demo's processes as the kernel sees them: their memory, and whether any is left.

use std::fs;
use std::path::Path;

/// A variable that every process of one run has in its environment.
pub(crate) const RUN: &str = "SHOP_DEMO_RUN";

/// One process of this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) pid: i32,
    pub(crate) command: String,
    /// Resident memory in KiB.
    pub(crate) rss_kib: u64,
}

/// All processes of the run `id`, without this one. Zombies hold no memory and are left out.
pub(crate) fn members(id: &str) -> Vec<Member> {
    let marker = format!("{RUN}={id}");
    let own = std::process::id().to_string();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut members: Vec<Member> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            if name == own {
                return None;
            }
            let pid = name.parse().ok()?;
            let environment = fs::read(entry.path().join("environ")).ok()?;
            let ours = environment
                .split(|byte| *byte == 0)
                .any(|var| var == marker.as_bytes());
            if !ours {
                return None;
            }
            let command = fs::read(entry.path().join("cmdline")).ok()?;
            let command = command
                .split(|byte| *byte == 0)
                .map(String::from_utf8_lossy);
            let command = command.collect::<Vec<_>>().join(" ");
            Some(Member {
                pid,
                command,
                rss_kib: rss_kib(&entry.path())?,
            })
        })
        .collect();
    members.sort_by_key(|member| member.pid);
    members
}

/// Resident memory of this process and of all of the run, in KiB.
pub(crate) fn total_rss_kib(id: &str) -> u64 {
    let others: u64 = members(id).iter().map(|member| member.rss_kib).sum();
    others + rss_kib(Path::new("/proc/self")).unwrap_or(0)
}

fn rss_kib(process: &Path) -> Option<u64> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    // A zombie has no VmRSS line.
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_by_its_run_and_weighed() {
        let id = format!("census-{}", std::process::id());
        assert_eq!(members(&id), []);
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .env(RUN, &id)
            .spawn()
            .unwrap();
        // The environment is there a moment after the process is.
        let began = std::time::Instant::now();
        let mut found = members(&id);
        while found.is_empty() && began.elapsed() < std::time::Duration::from_secs(20) {
            std::thread::yield_now();
            found = members(&id);
        }
        assert_eq!(found.len(), 1);
        assert!(found[0].rss_kib > 0);
        assert!(total_rss_kib(&id) > found[0].rss_kib);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(members(&id), []);
    }
}
