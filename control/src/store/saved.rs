//! The policy on disk: the texts as they were written by people, so that messages after a restart
//! still show their lines.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Error, files};

/// One policy text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// What is in force: applied, and last taken from the directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saved {
    pub(super) applied: Vec<File>,
    pub(super) directory: Vec<File>,
}

impl Saved {
    /// A missing file is no policy. An unreadable one stops the start: to serve without the policy
    /// that was promised to be kept would open what it closed.
    pub(super) fn load(path: &Path) -> Result<Self, Error> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unreadable(path).with_source(error)),
        };
        serde_json::from_slice(&bytes).map_err(|error| unreadable(path).with_source(error))
    }

    pub(super) fn save(&self, path: &Path) -> io::Result<()> {
        files::write_atomic(path, &serde_json::to_vec(self)?)
    }

    /// All texts.
    pub(super) fn in_force(&self) -> Vec<File> {
        self.directory
            .iter()
            .chain(&self.applied)
            .cloned()
            .collect()
    }
}

fn unreadable(path: &Path) -> Error {
    Error::new(
        "M5003",
        format!("state directory: {} cannot be read", path.display()),
        "restore it from the newest file under history/, or remove it and apply the policy again",
    )
}
