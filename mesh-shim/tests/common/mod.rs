//! What the tests of the real binary share: identities, the shim as a process, applications, callers.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod app;
pub(crate) mod authority;
pub(crate) mod pair;
pub(crate) mod programs;
mod shim;
pub(crate) mod wire;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub(crate) use self::authority::Authority;
pub(crate) use self::shim::Shim;

/// Long enough for a loaded machine; nothing waits for it when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A directory that is gone after the test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mesh-shim-test-{}-{next}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where a file of that name is.
    pub(crate) fn at(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn free_port() -> u16 {
    mesh_tower::testkit::free_port().unwrap().port()
}

/// Asks again and again until it is so; says how long that took.
pub(crate) async fn until(what: &str, check: impl AsyncFnMut() -> bool) -> Duration {
    until_within(PATIENCE, what, check).await
}

/// The same with a limit of its own.
pub(crate) async fn until_within(
    limit: Duration,
    what: &str,
    mut check: impl AsyncFnMut() -> bool,
) -> Duration {
    let began = Instant::now();
    while !check().await {
        assert!(began.elapsed() < limit, "still waiting: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}
