use std::io;
use std::sync::mpsc;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A thread that drives an exporter's connection.
///
/// Spans are sent when the last handle is dropped, which blocks the thread that drops it. If that is
/// the one thread of the program's runtime and the connection is driven by it, nothing leaves: so
/// the connection has a thread of its own.
#[derive(Debug)]
pub(super) struct Carrier {
    runtime: Handle,
    /// Dropped, it ends the thread.
    _ends: oneshot::Sender<()>,
}

// === impl Carrier ===

impl Carrier {
    pub(super) fn start() -> io::Result<Self> {
        let (ends, ended) = oneshot::channel();
        let (give, started) = mpsc::sync_channel(1);
        let run = move || {
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(give.send(Err(error))),
            };
            if give.send(Ok(runtime.handle().clone())).is_ok() {
                // An error is the end: the sender is never used.
                let _ = runtime.block_on(ended);
            }
        };
        std::thread::Builder::new()
            .name("mesh-otlp".into())
            .spawn(run)?;
        let runtime = started.recv().map_err(io::Error::other)??;
        Ok(Self {
            runtime,
            _ends: ends,
        })
    }

    /// Runs `build` where its tasks are this thread's.
    pub(super) fn enter<T>(&self, build: impl FnOnce() -> T) -> T {
        let _entered = self.runtime.enter();
        build()
    }
}
