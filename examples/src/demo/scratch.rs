//! One directory under the system's temporary one, gone on exit.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Everything that the demo writes is in here. Removed when dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// A new directory that only this user can read: join token and keys are in it. Its path is
    /// short, since a Unix socket's address may have 107 bytes.
    pub(crate) fn new(id: &str) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("mesh-demo-{id}"));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A directory inside, made when it is not there.
    pub(crate) fn dir(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The process is on its way out: `left behind` reports a directory that stays.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
