//! The accept loop: takes connections until the drain closes the door.

use std::{
    future::poll_fn,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::{
    connection::{self, Shared},
    dispatch::Answers,
    signal::Signal,
};
use crate::{telemetry::Counter, transport::Accept};

/// How long to wait when there are no file descriptors left: connections must end first.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// A connection's place below the server's cap.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Accepts until told to finish; then the listener is closed.
pub(super) async fn run<S: Answers>(
    mut listener: Box<dyn Accept>,
    shared: Arc<Shared>,
    service: S,
    connections: TaskTracker,
    mut signal: watch::Receiver<Signal>,
    refused: Counter,
) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let next = tokio::select! {
            biased;
            // An error means that the handle is gone.
            _ = signal.wait_for(|signal| signal.finish || signal.cut) => return,
            next = poll_fn(|cx| listener.poll_accept(cx)) => next,
        };
        match next {
            Ok((io, remote)) => {
                let place = Place(open.clone());
                if open.fetch_add(1, Relaxed) >= shared.limits.connections {
                    // Closed and not left waiting: the peer has other endpoints to try.
                    refused.increment(1);
                    continue;
                }
                let (shared, service) = (shared.clone(), service.clone());
                connections.spawn(async move {
                    connection::serve(shared, service, io, remote).await;
                    drop(place);
                });
            }
            Err(error) if is_peers_fault(&error) => {}
            Err(error) => {
                tracing::warn!(target: "mesh::server", %error, "no connection could be accepted");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
}

/// The peer went away between SYN and accept.
fn is_peers_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}
