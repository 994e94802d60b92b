//! The side that runs.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use tokio::sync::mpsc;

use super::wire::{self, BYE, Named};

/// Join and the application's start are within this; after it the newcomer is given up.
const READY_WITHIN: Duration = Duration::from_secs(300);
const SEND_WITHIN: Duration = Duration::from_secs(5);

/// Copies of the listeners, until they are let go: as long as one is open here, the kernel completes
/// connections that nobody would accept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Vec<Named>>>);

/// Waits for a successor.
#[derive(Debug)]
pub(crate) struct Giving {
    path: PathBuf,
    handed: mpsc::Receiver<BTreeSet<String>>,
    done: bool,
}

// === impl Shared ===

impl Shared {
    /// Keeps a copy of a listener.
    pub(crate) fn keep(&self, name: &str, worker: usize, listener: &TcpListener) -> io::Result<()> {
        let named = Named {
            name: name.to_owned(),
            worker,
            addr: listener.local_addr()?,
            listener: listener.try_clone()?,
        };
        self.lock().push(named);
        Ok(())
    }

    /// Closes the copies.
    pub(crate) fn let_go(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Named>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Giving ===

impl Giving {
    /// Listens on `path`, in place of whoever did.
    pub(crate) fn start(path: &Path, shared: Shared) -> io::Result<Self> {
        // Bound beside it and moved there: at no time is there nobody.
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        let beside = PathBuf::from(beside);
        let _ = fs::remove_file(&beside);
        let listener = UnixListener::bind(&beside)?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
        fs::rename(&beside, path)?;
        let (tell, handed) = mpsc::channel(1);
        // A thread of its own, which waits most of its life and ends with the process.
        std::thread::Builder::new()
            .name("takeover".to_owned())
            .spawn(move || {
                for stream in listener.incoming().flatten() {
                    match give(stream, &shared) {
                        Ok(used) => {
                            let _ = tell.blocking_send(used);
                            return;
                        }
                        Err(error) => tracing::warn!("a takeover came to nothing: {error}"),
                    }
                }
            })?;
        Ok(Self {
            path: path.to_owned(),
            handed,
            done: false,
        })
    }

    /// Resolves when a successor is ready and accepts, with the names of the listeners that it goes on
    /// with.
    pub(crate) async fn handed_over(&mut self) -> BTreeSet<String> {
        match self.handed.recv().await {
            Some(used) => {
                self.done = true;
                used
            }
            None => std::future::pending().await,
        }
    }
}

impl Drop for Giving {
    fn drop(&mut self) {
        // The successor's socket has this name then.
        if !self.done {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn give(mut stream: UnixStream, shared: &Shared) -> io::Result<BTreeSet<String>> {
    let peer = socket_peercred(&stream)?;
    if !peer.uid.is_root() && peer.uid != geteuid() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("asked by user {}", peer.uid.as_raw()),
        ));
    }
    stream.set_write_timeout(Some(SEND_WITHIN))?;
    stream.set_read_timeout(Some(READY_WITHIN))?;
    {
        let listeners = shared.lock();
        if listeners.is_empty() {
            return Err(io::Error::other("this shim is ending already"));
        }
        wire::send(&mut stream, &listeners)?;
    }
    tracing::info!("a successor has the listeners and is starting");
    let used = wire::receive_ready(&mut stream)?;
    shared.let_go();
    stream.write_all(BYE)?;
    Ok(used)
}
