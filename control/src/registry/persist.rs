//! The leases on disk, so that a restart does not make known endpoints vanish.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Instance;
use crate::files;

const FILE: &str = "leases.json";

/// The file of leases in the state directory.
#[derive(Clone, Debug)]
pub(crate) struct LeaseFile(PathBuf);

#[derive(Serialize, Deserialize)]
struct Content {
    instances: Vec<Instance>,
}

impl LeaseFile {
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self(state_dir.join(FILE))
    }

    /// What was written last; nothing when there is no file. An unreadable file is told about and
    /// passed over: instances register again within seconds, so it must not stop a start.
    pub(crate) fn load(&self) -> (Vec<Instance>, Option<String>) {
        let text = match std::fs::read(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return (Vec::new(), None),
            Err(error) => return (Vec::new(), Some(error.to_string())),
        };
        match serde_json::from_slice::<Content>(&text) {
            Ok(content) => (content.instances, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        }
    }

    pub(crate) fn save(&self, instances: Vec<Instance>) -> io::Result<()> {
        let bytes = serde_json::to_vec(&Content { instances })?;
        files::write_atomic(&self.0, &bytes)
    }
}
