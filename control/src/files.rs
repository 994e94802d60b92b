//! Files that survive `kill -9`: written beside, synced, then renamed over.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::Error;

/// Replaces `path` by `bytes` so that a reader finds the old or the new content, never a part, also
/// after a crash of the machine: the file and then its directory are synced.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = directory.join(name);
    // A leftover of a crash is not trusted: its mode may be another.
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(directory)?.sync_all()
}

/// Reads `path`; a missing file is `None`, a secret that others may read is an error.
pub(crate) fn read_secret(path: &Path) -> io::Result<Option<String>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "mode is {:04o}, others may read it; chmod 600 it",
                mode & 0o7777
            ),
        ));
    }
    Ok(Some(text))
}

/// Makes the state directory (0700) when it is missing, checks that others cannot enter it, and
/// takes its lock. The lock lives as long as the file does: also `kill -9` frees it.
pub(crate) fn open_state_dir(path: &Path) -> Result<File, Error> {
    let unusable = |what: &str, next: &str| {
        Error::new(
            "M5003",
            format!("state directory {}: {what}", path.display()),
            next,
        )
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| {
            unusable(
                "cannot be created",
                "give --state-dir a directory that this user can write",
            )
            .with_source(error)
        })?;
    let meta = fs::metadata(path).map_err(|error| {
        unusable("cannot be read", "check the directory's owner").with_source(error)
    })?;
    if meta.permissions().mode() & 0o077 != 0 {
        return Err(unusable(
            "others may enter it, and it holds the CA's key",
            &format!("chmod 700 {}", path.display()),
        ));
    }
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path.join("lock"))
        .map_err(|error| {
            unusable(
                "cannot be written",
                "check the directory's owner and free space",
            )
            .with_source(error)
        })?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(unusable(
            "another control server holds it",
            "stop the other server, or give this one its own --state-dir",
        )),
        Err(TryLockError::Error(error)) => {
            Err(unusable("cannot be locked", "use a local file system").with_source(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_write_replaces_the_whole_and_is_private() {
        let dir = Scratch::new("files");
        let path = dir.path().join("a");
        write_atomic(&path, b"one, long").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing is left beside"
        );
    }

    #[test]
    fn a_secret_that_others_may_read_is_refused() {
        let dir = Scratch::new("files");
        let path = dir.path().join("a");
        assert_eq!(read_secret(&path).unwrap(), None);
        write_atomic(&path, b"s").unwrap();
        assert_eq!(read_secret(&path).unwrap().as_deref(), Some("s"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(
            read_secret(&path).unwrap_err().kind(),
            io::ErrorKind::PermissionDenied
        );
    }

    #[test]
    fn a_second_server_on_one_state_directory_is_refused() {
        let dir = Scratch::new("files");
        let state = dir.path().join("state");
        let held = open_state_dir(&state).unwrap();
        let error = open_state_dir(&state).unwrap_err();
        assert_eq!(error.code(), "M5003");
        assert!(
            error.to_string().contains("another control server"),
            "{error}"
        );
        drop(held);
        open_state_dir(&state).unwrap();
        fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).unwrap();
        let error = open_state_dir(&state).unwrap_err();
        assert!(error.next().starts_with("chmod 700"), "{}", error.next());
    }
}
