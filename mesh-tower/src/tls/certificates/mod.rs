//! Certificates that clients outside the mesh are shown, by the name that they ask for.
//!
//! ```text
//! DIR/www.crt    DIR/www.key        a pair, NAME.crt and NAME.key
//! DIR/shop/tls.crt  DIR/shop/tls.key  the same as cert-manager and Kubernetes mount it
//! DIR/default.crt   DIR/default.key   also for clients that ask for no name
//! ```
//!
//! The names are those of the certificate (its DNS names), never those of the files: exact ones
//! first, then `*.example.com`, which is one label (RFC 9525 6.3). Of several certificates for one
//! name the one that expires last is shown.
//!
//! The directory is looked at every second, by content and not by events, since Kubernetes swaps
//! symbolic links. A changed pair is shown in the next handshake; a broken one is told of once, with
//! its path, and the last good one stays; a removed one is gone. No pair spoils another.

mod hello;
mod names;
mod pair;
mod scan;
mod set;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use mesh_core::error::{Code, ErrorKind, MeshError};
use tokio::sync::watch;

pub(crate) use self::hello::hello;
pub(crate) use self::pair::Served;
pub(crate) use self::set::Found;

use self::scan::Scanner;
use self::set::Set;

/// Between two looks at the directory, as for the identity's.
const POLL: Duration = Duration::from_secs(1);

/// The certificates of a directory, as they are now. Clones are the same certificates.
#[derive(Clone)]
pub struct Certificates(Arc<Inner>);

struct Inner {
    directory: PathBuf,
    scanner: Mutex<Scanner>,
    set: watch::Sender<Arc<Set>>,
}

/// One pair of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateState {
    /// As the pair is called: `www` for `www.crt`.
    pub name: String,
    /// When the one that is shown expires; `None` if no good one has been there.
    pub not_after: Option<SystemTime>,
    /// What is wrong with the files that are there now.
    pub fault: Option<String>,
}

// === impl Certificates ===

impl Certificates {
    /// Reads a directory.
    ///
    /// # Errors
    ///
    /// M1005 when it cannot be read or holds no usable pair; the message names each that is broken.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, MeshError> {
        let directory = directory.into();
        let mut scanner = Scanner::new(directory.clone());
        let set = scanner
            .scan(SystemTime::now())
            .map_err(|error| unusable(&directory, error.to_string()))?
            .unwrap_or_default();
        if set.is_empty() {
            let faults: Vec<_> = scanner.faults().collect();
            let what = match faults.is_empty() {
                true => "there is no NAME.crt with its NAME.key".to_owned(),
                false => faults.join("; "),
            };
            return Err(unusable(&directory, what));
        }
        Ok(Self(Arc::new(Inner {
            directory,
            scanner: Mutex::new(scanner),
            set: watch::Sender::new(Arc::new(set)),
        })))
    }

    /// Looks at the directory every second, and takes over what has changed, until it is dropped.
    pub fn follow(&self) -> impl Future<Output = ()> + Send + 'static {
        let this = self.clone();
        async move {
            loop {
                tokio::time::sleep(POLL).await;
                let this = this.clone();
                // Thousands of files may take their time.
                if tokio::task::spawn_blocking(move || this.look())
                    .await
                    .is_err()
                {
                    return;
                }
            }
        }
    }

    /// Looks at the directory now.
    pub(crate) fn look(&self) {
        let mut scanner = self.0.lock();
        match scanner.scan(SystemTime::now()) {
            Ok(Some(set)) => {
                tracing::info!(
                    target: "mesh::tls",
                    directory = %self.0.directory.display(), certificates = set.len(),
                    "certificates reloaded"
                );
                self.0.set.send_replace(Arc::new(set));
            }
            Ok(None) => {}
            Err(error) => scanner.warn_once(&error),
        }
    }

    /// The certificate for a name that a client asks for; without a name that of `default`.
    pub(crate) fn find(&self, name: Option<&str>) -> Option<Found> {
        self.0.set.borrow().find(name)
    }

    /// Every pair, by name.
    pub fn states(&self) -> Vec<CertificateState> {
        self.0.lock().states()
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, Scanner> {
        self.scanner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unusable(directory: &Path, what: String) -> MeshError {
    let what = format!("{}: {what}", directory.display());
    MeshError::new(ErrorKind::Internal, what).with_code(Code::INGRESS_CERTIFICATE)
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates")
            .field("directory", &self.0.directory)
            .field("certificates", &self.0.set.borrow().len())
            .finish()
    }
}
