//! Atomics and locks of the decisions. Under `--cfg loom` they are those of loom, whose models (`mesh-core/models`) then
//! run the decisions themselves through every order of their threads' steps.

#[cfg(not(loom))]
pub(crate) use std::hint::spin_loop;
#[cfg(not(loom))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(loom)]
pub(crate) use loom::hint::spin_loop;
#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};

/// What a sequentially consistent access is and loom does not know: to it they are acquire and release, and only the
/// fence is in one order with all others. Nothing outside of a model.
#[inline(always)]
pub(crate) fn in_one_order() {
    #[cfg(loom)]
    atomic::fence(atomic::Ordering::SeqCst);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    /// Words of locks, and of what has one inside.
    const LOCKS: [&str; 12] = [
        "Mutex",
        "RwLock",
        "Condvar",
        "Barrier",
        "Once",
        "OnceLock",
        "LazyLock",
        "Semaphore",
        "Notify",
        "mpsc",
        "watch",
        "parking_lot",
    ];

    /// Every file that has one, and why no decision of a call waits for it.
    const WITH_LOCKS: [(&str, &str); 7] = [
        ("sync.rs", "names them"),
        (
            "clock.rs",
            "set by the first call of the process, read by the others",
        ),
        (
            "error/registry/mod.rs",
            "the texts of the codes, for pages and reports",
        ),
        (
            "live.rs",
            "only when the value has changed: `changed` is a number",
        ),
        (
            "overload/adaptive/limiter.rs",
            "tried, never waited for, by the call that ends a window",
        ),
        (
            "overload/gate.rs",
            "the queue's, when there is something to wait for",
        ),
        ("policy/store/layers.rs", "when a policy is applied"),
    ];
    /// Those whose decision does take one, for a moment and one of sixteen.
    const TAKEN: [(&str, &str); 1] = [("ratelimit/keyed.rs", "the table of keys")];

    #[test]
    fn no_decision_takes_a_lock_but_those_that_say_so() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut found = BTreeMap::new();
        look(&root, &root, &mut found);
        let known = WITH_LOCKS.iter().chain(&TAKEN).map(|(file, _)| *file);
        let mut known: Vec<_> = known.collect();
        known.sort_unstable();
        let files: Vec<_> = found.keys().map(String::as_str).collect();
        println!("{} files with locks: {found:?}", files.len());
        assert_eq!(files, known, "files with locks, and those that are known");
    }

    fn look(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<String>>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // Not part of what serves.
                let aside = ["models", "tests"].iter().any(|name| path.ends_with(name));
                if !aside {
                    look(root, &path, found);
                }
                continue;
            }
            let locks = locks_in(&path);
            if !locks.is_empty() {
                let file = path.strip_prefix(root).unwrap().to_string_lossy();
                found.insert(file.into_owned(), locks);
            }
        }
    }

    fn locks_in(path: &Path) -> Vec<String> {
        let name = path.file_name().unwrap().to_string_lossy();
        if name.ends_with("tests.rs") || name == "simulation.rs" {
            return Vec::new();
        }
        let text = std::fs::read_to_string(path).unwrap();
        // Tests are last in a file.
        let code = text.split("mod tests {").next().unwrap_or_default();
        let lines = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        let words = lines.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'));
        let mut locks: Vec<String> = words
            .filter(|word| LOCKS.contains(word))
            .map(str::to_owned)
            .collect();
        locks.sort_unstable();
        locks.dedup();
        locks
    }
}
