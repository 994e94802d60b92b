//! What survives a restart: the identity and the last good snapshot.
//!
//! Two files, each replaced by a rename: `identity.pem` (key and chain) and `snapshot` (every resource in force, with
//! its version, and the trust bundle). Both of mode 0600 in a directory of mode 0700. A file that cannot be read is
//! the same as none: the control server has everything.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use mesh_core::error::{ErrorKind, MeshError};
use prost::Message as _;

use crate::{channel::code, engine::Version, pb::discovery::DeltaDiscoveryResponse};

const IDENTITY: &str = "identity.pem";
const SNAPSHOT: &str = "snapshot";

/// Bounds what is read back. 10,000 resources and their endpoints take far less.
const MAX_SNAPSHOT: u64 = 256 << 20;

/// The state directory of one member.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    dir: PathBuf,
}

impl Disk {
    pub(super) fn open(dir: &Path) -> Result<Self, MeshError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|error| {
                let what = format!("state directory {} cannot be made: {error}", dir.display());
                MeshError::new(ErrorKind::Policy, what)
                    .with_code(code(5003))
                    .with_source(error)
            })?;
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    /// Key and chain in one PEM text.
    pub(super) fn identity(&self) -> Option<String> {
        fs::read_to_string(self.dir.join(IDENTITY)).ok()
    }

    pub(super) fn save_identity(&self, pem: &str) -> io::Result<()> {
        self.replace(IDENTITY, pem.as_bytes())
    }

    /// The resources that were in force, one message for each type.
    pub(super) fn snapshot(&self) -> Vec<DeltaDiscoveryResponse> {
        let path = self.dir.join(SNAPSHOT);
        match read(&path) {
            Ok(types) => types,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                tracing::warn!(target: "mesh::join", "{} is not used: {error}", path.display());
                Vec::new()
            }
        }
    }

    pub(super) fn save_snapshot(&self, types: &[DeltaDiscoveryResponse]) -> io::Result<()> {
        let mut content = Vec::new();
        for resources in types {
            resources
                .encode_length_delimited(&mut content)
                .map_err(io::Error::other)?;
        }
        let mut bytes = format!("mesh-snapshot 1 {}\n", Version::of(&content)).into_bytes();
        bytes.extend(content);
        self.replace(SNAPSHOT, &bytes)
    }

    /// Written beside and moved over: a reader, also after a crash, sees the old or the new, never a part.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let beside = self.dir.join(format!(".{name}.new"));
        let _ = fs::remove_file(&beside);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, self.dir.join(name))
    }
}

fn read(path: &Path) -> io::Result<Vec<DeltaDiscoveryResponse>> {
    let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
    if fs::metadata(path)?.len() > MAX_SNAPSHOT {
        return Err(broken("too large"));
    }
    let bytes = fs::read(path)?;
    let end = bytes
        .iter()
        .position(|b| *b == b'\n')
        .ok_or_else(|| broken("no header"))?;
    let (header, mut content) = (&bytes[..end], &bytes[end + 1..]);
    if header != format!("mesh-snapshot 1 {}", Version::of(content)).as_bytes() {
        return Err(broken("cut off, changed, or of another version"));
    }
    let mut types = Vec::new();
    while !content.is_empty() {
        let message = DeltaDiscoveryResponse::decode_length_delimited(&mut content);
        types.push(message.map_err(|error| broken(&error.to_string()))?);
    }
    Ok(types)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::pb::discovery::Resource;

    struct Scratch(PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn state_survives_and_is_private_and_broken_state_is_none() {
        let name = format!("mesh-grpc-disk-{}", std::process::id());
        let scratch = Scratch(std::env::temp_dir().join(name));
        let disk = Disk::open(&scratch.0.join("a/b")).unwrap();
        assert!(disk.identity().is_none() && disk.snapshot().is_empty());

        let types = vec![DeltaDiscoveryResponse {
            type_url: "t".into(),
            resources: vec![Resource {
                name: "a".into(),
                version: "1".into(),
                ..Default::default()
            }],
            ..Default::default()
        }];
        disk.save_snapshot(&types).unwrap();
        disk.save_snapshot(&types).unwrap();
        disk.save_identity("pem").unwrap();
        assert_eq!(disk.snapshot(), types);
        assert_eq!(disk.identity().as_deref(), Some("pem"));
        for (path, mode) in [
            (disk.dir.clone(), 0o700),
            (disk.dir.join(SNAPSHOT), 0o600),
            (disk.dir.join(IDENTITY), 0o600),
        ] {
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                mode,
                "{}",
                path.display()
            );
        }

        let path = disk.dir.join(SNAPSHOT);
        let mut bytes = fs::read(&path).unwrap();
        bytes.pop();
        fs::write(&path, bytes).unwrap();
        assert!(disk.snapshot().is_empty());
    }
}
