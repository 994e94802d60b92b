//! Pairs of files in a directory, and what became of each.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::error::Code;

use super::CertificateState;
use super::pair::{Fault, Served};
use super::set::Set;
use crate::tls::sha256;

/// Pairs of one directory; more are not looked at, and told of.
const PAIRS: usize = 4_096;
/// A chain is a few KiB.
const FILE: u64 = 256 * 1024;
/// A file that was written so lately may be written again within the same tick of the file system's
/// clock: its content is compared, not its date.
const FRESH: Duration = Duration::from_secs(3);

/// What is known of a directory.
pub(super) struct Scanner {
    directory: PathBuf,
    pairs: BTreeMap<String, Pair>,
    /// Of the directory itself.
    fault: Option<String>,
}

/// One pair, as last looked at.
#[derive(Default)]
struct Pair {
    stamp: Option<Stamp>,
    digest: Option<[[u8; 32]; 2]>,
    served: Option<Arc<Served>>,
    fault: Option<Fault>,
}

/// Tells whether files may have changed, without reading them.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp([(u64, u64, Option<SystemTime>); 2]);

/// Where a pair is.
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

// === impl Scanner ===

impl Scanner {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            pairs: BTreeMap::new(),
            fault: None,
        }
    }

    /// Looks at everything; `None` if nothing has changed that a handshake would notice.
    pub(super) fn scan(&mut self, now: SystemTime) -> io::Result<Option<Set>> {
        let found = self.list()?;
        self.fault = None;
        let known = self.pairs.len();
        self.pairs.retain(|name, _| found.contains_key(name));
        let mut changed = self.pairs.len() != known;
        for (name, files) in found {
            changed |= self.pairs.entry(name).or_default().look(&files, now);
        }
        Ok(changed.then(|| {
            let served = self
                .pairs
                .iter()
                .filter_map(|(name, pair)| Some((name.as_str(), pair.served.as_ref()?)));
            Set::new(served)
        }))
    }

    /// `NAME.crt` with `NAME.key`, and `NAME/tls.crt` with `NAME/tls.key`. What begins with a dot is
    /// how Kubernetes keeps what it mounts.
    fn list(&mut self) -> io::Result<BTreeMap<String, Files>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let Some(file) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if file.starts_with('.') {
                continue;
            }
            let pair = match file.strip_suffix(".crt") {
                Some(name) if !name.is_empty() => {
                    let key = path.with_extension("key");
                    (
                        name.to_owned(),
                        Files {
                            cert: path.clone(),
                            key,
                        },
                    )
                }
                _ => {
                    let cert = path.join("tls.crt");
                    if !cert.exists() {
                        continue;
                    }
                    let key = path.join("tls.key");
                    (file.to_owned(), Files { cert, key })
                }
            };
            if found.len() >= PAIRS {
                let what = format!("more than {PAIRS} pairs: the rest is not looked at");
                self.warn_once(&io::Error::other(what));
                break;
            }
            found.entry(pair.0).or_insert(pair.1);
        }
        Ok(found)
    }

    /// Tells of a directory that cannot be read, until something else is wrong with it.
    pub(super) fn warn_once(&mut self, error: &io::Error) {
        let text = error.to_string();
        if self.fault.as_ref() != Some(&text) {
            tracing::warn!(
                target: "mesh::tls",
                "certificates not reloaded: {}: {text} [{}]",
                self.directory.display(), Code::INGRESS_CERTIFICATE
            );
            self.fault = Some(text);
        }
    }

    pub(super) fn faults(&self) -> impl Iterator<Item = &str> {
        self.pairs
            .values()
            .filter_map(|pair| pair.fault.as_ref().map(Fault::text))
    }

    pub(super) fn states(&self) -> Vec<CertificateState> {
        let state = |(name, pair): (&String, &Pair)| CertificateState {
            name: name.clone(),
            not_after: pair.served.as_ref().map(|served| served.not_after()),
            fault: pair.fault.as_ref().map(|fault| fault.text().to_owned()),
        };
        self.pairs.iter().map(state).collect()
    }
}

// === impl Pair ===

impl Pair {
    /// Reads the files if they may have changed; says whether another certificate is shown now.
    fn look(&mut self, files: &Files, now: SystemTime) -> bool {
        let stamp = Stamp::of(files);
        let early = matches!(self.fault, Some(Fault::Early(_)));
        if let (Ok(stamp), Some(known)) = (&stamp, &self.stamp)
            && stamp == known
            && !stamp.is_fresh(now)
            && !early
        {
            return false;
        }
        self.stamp = stamp.ok();
        let read = (read(&files.cert), read(&files.key));
        let (cert, key) = match read {
            (Ok(cert), Ok(key)) => (cert, key),
            (Err(fault), _) | (_, Err(fault)) => {
                self.digest = None;
                self.refuse(Fault::Broken(fault));
                return false;
            }
        };
        let digest = Some([sha256(&cert), sha256(&key)]);
        if digest == self.digest && !early {
            return false;
        }
        self.digest = digest;
        match Served::read((&files.cert, &cert), (&files.key, &key), now) {
            Ok(served) => {
                if served.names().is_nobody() {
                    tracing::warn!(
                        target: "mesh::tls",
                        "{}: it has no DNS name, so nobody can ask for it",
                        files.cert.display()
                    );
                }
                self.served = Some(Arc::new(served));
                self.fault = None;
                true
            }
            Err(fault) => {
                self.refuse(fault);
                false
            }
        }
    }

    /// The last good one stays; one warning for each thing that is wrong.
    fn refuse(&mut self, fault: Fault) {
        let told = match &self.fault {
            // How long it still takes changes all the time.
            Some(Fault::Early(_)) => matches!(fault, Fault::Early(_)),
            known => known.as_ref() == Some(&fault),
        };
        if !told {
            let stays = match self.served {
                Some(_) => "the last good one stays",
                None => "it is not used",
            };
            tracing::warn!(
                target: "mesh::tls",
                "{}; {stays} [{}]", fault.text(), Code::INGRESS_CERTIFICATE
            );
        }
        self.fault = Some(fault);
    }
}

// === impl Stamp ===

impl Stamp {
    fn of(files: &Files) -> io::Result<Self> {
        let one = |path: &Path| {
            let found = fs::metadata(path)?;
            Ok::<_, io::Error>((inode(&found), found.len(), found.modified().ok()))
        };
        Ok(Self([one(&files.cert)?, one(&files.key)?]))
    }

    fn is_fresh(&self, now: SystemTime) -> bool {
        self.0.iter().any(|(_, _, modified)| {
            modified.is_none_or(|at| now.duration_since(at).map_or(true, |age| age < FRESH))
        })
    }
}

#[cfg(unix)]
fn inode(found: &Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    // The time of change, too: a file that is moved into place keeps its date.
    found.ino()
        ^ u64::from_ne_bytes(found.ctime_nsec().to_ne_bytes()).rotate_left(32)
        ^ u64::from_ne_bytes(found.ctime().to_ne_bytes())
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> u64 {
    0
}

/// A file that is not larger than it may be.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let text = |error: io::Error| format!("{}: it cannot be read: {error}", path.display());
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(text)?;
    file.take(FILE + 1).read_to_end(&mut bytes).map_err(text)?;
    match bytes.len() as u64 > FILE {
        true => Err(format!("{}: it is larger than 256 KiB", path.display())),
        false => Ok(bytes),
    }
}
