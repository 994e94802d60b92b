//! Where load, backends and subject run: apart, each on a core of its own, or on whichever of the two the scheduler
//! chooses.
//!
//! Apart, the load cannot take time from a busy subject; but each call at a low rate then wakes an idle core twice, and in
//! a virtual machine the hypervisor's part of such a wake-up counts as the subject's. A sidecar and its application are not
//! kept apart like this, so the fixed rate is measured both ways.

use std::{fs, io};

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

use super::process::Process;

/// The core of the load and the backends. `benches/peers` starts the program there.
pub const LOAD: usize = 0;
/// The core of the subject.
pub const SUBJECT: usize = 1;

/// Lets this program and `processes` run on both cores, until the guard is dropped.
///
/// # Errors
///
/// When a process has ended.
pub fn share(processes: &[Process]) -> io::Result<Shared<'_>> {
    let shared = Shared(processes);
    place(std::process::id(), &[LOAD, SUBJECT])?;
    for process in processes {
        for pid in process.family()? {
            place(pid, &[LOAD, SUBJECT])?;
        }
    }
    Ok(shared)
}

/// While it lives, the scheduler chooses; after it, load and subject are apart again.
#[derive(Debug)]
#[must_use = "dropped at once, it changes nothing"]
pub struct Shared<'a>(&'a [Process]);

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        // One that has ended is told by the next call that fails.
        let _ = place(std::process::id(), &[LOAD]);
        for process in self.0 {
            for pid in process.family().unwrap_or_default() {
                let _ = place(pid, &[SUBJECT]);
            }
        }
    }
}

/// Every thread of `pid`; those it makes later inherit the set.
fn place(pid: u32, cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let id = task?.file_name();
        let id = id.to_str().and_then(|id| id.parse().ok());
        let Some(id) = id.and_then(Pid::from_raw) else {
            continue;
        };
        match sched_setaffinity(Some(id), &set) {
            // A thread may end while the others are told.
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustix::thread::sched_getaffinity;

    use super::*;
    use crate::peers::process;

    fn cores_of(process: &Process) -> u32 {
        let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
        sched_getaffinity(pid).unwrap().count()
    }

    #[test]
    fn cores_are_shared_while_the_guard_lives() {
        let here = sched_getaffinity(None).unwrap();
        if !(here.is_set(LOAD) && here.is_set(SUBJECT)) {
            println!("skipped: needs cores {LOAD} and {SUBJECT}");
            return;
        }
        let log = std::env::temp_dir().join(format!("peers-cores-{}", std::process::id()));
        let shell = Path::new("/bin/sh");
        let subject = [process::start(SUBJECT, shell, ["-c", "sleep 60"], &log).unwrap()];
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while cores_of(&subject[0]) != 1 {
            assert!(std::time::Instant::now() < until, "it is never pinned");
            std::thread::yield_now();
        }
        let shared = share(&subject).unwrap();
        assert_eq!(cores_of(&subject[0]), 2);
        drop(shared);
        assert_eq!(cores_of(&subject[0]), 1);
        drop(subject);
        fs::remove_file(log).unwrap();
        // The other tests of this process run where they did.
        for task in fs::read_dir("/proc/self/task").unwrap() {
            let id = task.unwrap().file_name().into_string().unwrap();
            let id = Pid::from_raw(id.parse().unwrap());
            let _ = sched_setaffinity(id, &here);
        }
    }
}
