//! The side that starts.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::wire::{self, BYE, Named};

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What was taken over, as far as it is not used yet.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    listeners: Vec<Named>,
    /// Names that this shim has too.
    asked: BTreeSet<String>,
    /// Names that it goes on with.
    used: BTreeSet<String>,
    from: Option<UnixStream>,
}

/// Asks the shim that listens on `path` for its listeners. Nothing, if there is none.
pub(crate) fn take(path: &Path) -> io::Result<Taken> {
    let mut from = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(Taken::default());
        }
        Err(error) => return Err(error),
    };
    from.set_read_timeout(Some(ANSWER_WITHIN))?;
    from.set_write_timeout(Some(ANSWER_WITHIN))?;
    Ok(Taken {
        listeners: wire::receive(&mut from)?,
        asked: BTreeSet::new(),
        used: BTreeSet::new(),
        from: Some(from),
    })
}

// === impl Taken ===

impl Taken {
    /// Whether somebody is taken over from.
    pub(crate) fn is_any(&self) -> bool {
        self.from.is_some()
    }

    /// The listener of a name and a worker at this address; any, for port 0. A worker that the
    /// predecessor did not have shares the queue of the first.
    pub(crate) fn listener(
        &mut self,
        name: &str,
        worker: usize,
        addr: SocketAddr,
    ) -> io::Result<Option<TcpListener>> {
        self.asked.insert(name.to_owned());
        let fits = |one: &Named| one.name == name && (addr.port() == 0 || one.addr == addr);
        let found = self
            .listeners
            .iter()
            .position(|one| fits(one) && one.worker == worker);
        let listener = match found {
            // The first stays, for those that come after it.
            Some(at) if worker > 0 => Some(self.listeners.swap_remove(at).listener),
            Some(at) => Some(self.listeners[at].listener.try_clone()?),
            None => {
                let first = self
                    .listeners
                    .iter()
                    .find(|one| fits(one) && one.worker == 0);
                first.map(|one| one.listener.try_clone()).transpose()?
            }
        };
        if listener.is_some() {
            self.used.insert(name.to_owned());
        }
        Ok(listener)
    }

    /// The most workers that the predecessor has beyond those that this shim has asked for.
    pub(crate) fn workers_left(&self) -> Option<usize> {
        let left = self.listeners.iter();
        let left = left.filter(|one| one.worker > 0 && self.asked.contains(&one.name));
        left.map(|one| one.worker + 1).max()
    }

    /// Closes what nobody asked for.
    pub(crate) fn forget_rest(&mut self) {
        self.listeners.clear();
    }

    /// Tells the predecessor to stop accepting, and waits until it has heard.
    pub(crate) fn ready(&mut self) -> io::Result<()> {
        let Some(mut from) = self.from.take() else {
            return Ok(());
        };
        wire::send_ready(&mut from, &self.used)?;
        let mut word = [0; BYE.len()];
        from.read_exact(&mut word)
    }
}
