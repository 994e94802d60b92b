use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mesh_core::error::{ErrorKind, MeshError};

use super::{Credentials, Identity, TrustRoots, sha256};

/// Kubernetes swaps symlinks, which file events miss: the content is read and hashed.
const POLL: Duration = Duration::from_secs(1);

/// Loads `cert.pem` (chain, leaf first), `key.pem` and `roots.pem` of a directory into
/// `credentials`, then returns a future that does so again whenever their content changes. The
/// roots are those of the leaf's own trust domain.
///
/// A half-written or broken set is skipped with a warning; the last good one stays in force.
///
/// # Errors
///
/// If the first load fails.
pub fn reload_directory(
    directory: impl Into<PathBuf>,
    credentials: &Credentials,
) -> Result<impl Future<Output = ()> + Send + 'static, MeshError> {
    let directory = directory.into();
    let credentials = credentials.clone();
    let files = read(&directory)?;
    let mut known = hash(&files);
    apply(&files, &credentials)?;
    Ok(async move {
        loop {
            tokio::time::sleep(POLL).await;
            let files = match read(&directory) {
                Ok(files) => files,
                Err(error) => {
                    tracing::warn!(target: "mesh::tls", "credentials not reloaded: {error}");
                    continue;
                }
            };
            let now = hash(&files);
            if now == known {
                continue;
            }
            // Also when it is refused: one warning for each broken content.
            known = now;
            match apply(&files, &credentials) {
                Ok(()) => tracing::info!(target: "mesh::tls", "credentials reloaded"),
                Err(error) => {
                    tracing::warn!(target: "mesh::tls", "credentials not reloaded: {error}");
                }
            }
        }
    })
}

struct Files {
    chain: Vec<u8>,
    key: Vec<u8>,
    roots: Vec<u8>,
}

/// Three small local files: not worth a blocking thread.
fn read(directory: &Path) -> Result<Files, MeshError> {
    let file = |name: &str| {
        let path = directory.join(name);
        std::fs::read(&path).map_err(|error| {
            let what = format!("{} cannot be read: {error}", path.display());
            MeshError::new(ErrorKind::Identity, what).with_source(error)
        })
    };
    Ok(Files {
        chain: file("cert.pem")?,
        key: file("key.pem")?,
        roots: file("roots.pem")?,
    })
}

fn hash(files: &Files) -> [[u8; 32]; 3] {
    [
        sha256(&files.chain),
        sha256(&files.key),
        sha256(&files.roots),
    ]
}

fn apply(files: &Files, credentials: &Credentials) -> Result<(), MeshError> {
    let identity = Identity::from_pem(&files.chain, &files.key)?;
    let domain = identity.spiffe_id().trust_domain().to_owned();
    let roots = TrustRoots::from_pem([(domain, &files.roots)])?;
    credentials.set_trust(roots);
    credentials.set_identity(identity);
    Ok(())
}
