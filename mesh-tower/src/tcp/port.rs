use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::TcpClient;
use crate::transport::{Accept, BoxIo};

/// Connections of bytes that are open or wait at one listener; one more is closed at once.
const CONNECTIONS: usize = 10_000;

/// A local listener for one service, of requests or of bytes as the policy says when a connection
/// comes. It carries the bytes itself; what it accepts, as a listener for a server, are the others.
pub struct TcpPort<A> {
    listener: A,
    client: TcpClient,
    always: bool,
    carried: Carried,
    /// Those that had to wait for a policy, and turned out to be of requests.
    late: mpsc::UnboundedReceiver<(BoxIo, SocketAddr)>,
    sorted: mpsc::UnboundedSender<(BoxIo, SocketAddr)>,
}

/// The connections that listeners carry: to be waited for, and cut when that takes too long.
#[derive(Clone, Debug)]
pub struct Carried {
    open: TaskTracker,
    cut: CancellationToken,
    places: Arc<Semaphore>,
}

// === impl Carried ===

impl Carried {
    /// None yet.
    pub fn new() -> Self {
        Self {
            open: TaskTracker::new(),
            cut: CancellationToken::new(),
            places: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Waits until all have ended, for `within` at most, and then cuts those that are left. The
    /// listeners have to be gone.
    pub async fn end(&self, within: std::time::Duration) {
        self.open.close();
        if tokio::time::timeout(within, self.open.wait())
            .await
            .is_err()
        {
            tracing::info!(
                left = self.open.len(),
                "connections of bytes are cut: the time to drain is over"
            );
            self.cut.cancel();
            self.open.wait().await;
        }
    }

    /// Runs what one connection needs, unless there are too many. It is to end when the token says
    /// so.
    pub fn spawn<F>(&self, one: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // Without a place the connection is dropped, which closes it.
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            let one = one(self.cut.clone());
            self.open.spawn(async move {
                one.await;
                drop(place);
            });
        }
    }
}

impl Default for Carried {
    fn default() -> Self {
        Self::new()
    }
}

// === impl TcpPort ===

impl<A: Accept> TcpPort<A> {
    /// As the policy says, at any time.
    pub fn new(listener: A, client: TcpClient, carried: Carried) -> Self {
        let (sorted, late) = mpsc::unbounded_channel();
        Self {
            listener,
            client,
            always: false,
            carried,
            late,
            sorted,
        }
    }

    /// Of bytes, whatever the policy says.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.always = true;
        self
    }

    fn carry(&self, io: BoxIo, from: SocketAddr) {
        let mut client = self.client.clone();
        self.carried.spawn(|cut| async move {
            // It has been told of in the access log.
            let _ = client.carry(io, from, cut.cancelled()).await;
        });
    }

    fn carry_or_sort(&self, io: BoxIo, from: SocketAddr) {
        let (mut client, sorted) = (self.client.clone(), self.sorted.clone());
        self.carried.spawn(|cut| async move {
            if client.is_declared().await {
                let _ = client.carry(io, from, cut.cancelled()).await;
            } else {
                // Fails when the server is gone.
                let _ = sorted.send((io, from));
            }
        });
    }
}

impl<A: Accept> Accept for TcpPort<A> {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(BoxIo, SocketAddr)>> {
        loop {
            if let Poll::Ready(Some(sorted)) = self.late.poll_recv(cx) {
                return Poll::Ready(Ok(sorted));
            }
            let (io, from) = ready!(self.listener.poll_accept(cx))?;
            let declared = match self.always {
                true => Some(true),
                false => self.client.declared_now(),
            };
            match declared {
                Some(true) => self.carry(io, from),
                Some(false) => return Poll::Ready(Ok((io, from))),
                None => self.carry_or_sort(io, from),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl<A> std::fmt::Debug for TcpPort<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TcpPort")
            .field("always", &self.always)
            .finish_non_exhaustive()
    }
}
