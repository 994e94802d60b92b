//! The policy directory, read as a whole and compared by content.
//!
//! Polled, not watched: inotify does not see what lies behind the symlinks that Kubernetes swaps,
//! and says nothing on network file systems.
//!
//! A file that is being written looks empty or cut short, which can be valid policy and wrong: a
//! change is taken only when two looks in a row read the same. The caller leaves [`SETTLE`] between
//! them.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mesh_core::policy::text::limits::TEXT_BYTES;

use super::File;

/// The time between a look that found a change and the one that confirms it.
pub(crate) const SETTLE: Duration = Duration::from_millis(100);

/// The texts, or why they cannot be read.
type Content = Result<Vec<File>, String>;

/// A policy directory and what was last read from it.
#[derive(Debug)]
pub(crate) struct PolicyDir {
    path: PathBuf,
    /// What was taken.
    last: Option<Content>,
    /// Another content, seen once.
    unsettled: Option<Content>,
}

/// What one look at the directory found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// What was taken already.
    Same,
    /// Something new that may still be being written: look again after [`SETTLE`].
    Unsettled,
    /// Something new, seen twice.
    Changed(Content),
}

impl PolicyDir {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            last: None,
            unsettled: None,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks once.
    pub(crate) fn look(&mut self) -> Look {
        let now = read_texts(&self.path).map_err(|error| error.to_string());
        if self.last.as_ref() == Some(&now) {
            self.unsettled = None;
            return Look::Same;
        }
        if self.unsettled.as_ref() != Some(&now) {
            self.unsettled = Some(now);
            return Look::Unsettled;
        }
        self.unsettled = None;
        self.last = Some(now.clone());
        Look::Changed(now)
    }
}

/// The policy texts of a directory (`*.yaml`, `*.yml`, not hidden, by name), or of one file.
pub(crate) fn read_texts(path: &Path) -> io::Result<Vec<File>> {
    if !std::fs::metadata(path)?.is_dir() {
        return Ok(vec![read(path)?]);
    }
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or(".");
        let yaml = path
            .extension()
            .is_some_and(|end| end == "yaml" || end == "yml");
        if yaml && !name.starts_with('.') && std::fs::metadata(&path).is_ok_and(|m| m.is_file()) {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

/// Reads a text; of one that is too long just enough to be refused for it.
fn read(path: &Path) -> io::Result<File> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(TEXT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    let name = path.display().to_string();
    Ok(File {
        name,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    })
}
