use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// How far the end has come. Only ever moves forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// Business as usual.
    #[default]
    Serving,
    /// Not ready for more, still accepting what comes.
    Unready,
    /// No new connections; what is in flight ends.
    Draining,
    /// Nothing is held any more, or the time is up.
    Done,
}

/// How long the phases take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between *unready* and *draining*: what registries and load balancers need to hear of it.
    pub unready: Duration,
    /// The longest wait for what is in flight.
    pub in_flight: Duration,
}

/// The drain of one process. Cloning is cheap; all clones are one.
#[derive(Clone, Debug)]
pub struct Drain(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    phase: watch::Sender<Phase>,
    holds: watch::Sender<usize>,
    timing: watch::Sender<Timing>,
}

/// Something in flight: [`Phase::Done`] waits until it is dropped, up to [`Timing::in_flight`].
#[derive(Debug)]
pub struct Hold(Drain);

// === impl Drain ===

impl Drain {
    /// A drain that has not started, with the default [`Timing`].
    pub fn new() -> Self {
        Self::with_timing(Timing::default())
    }

    /// A drain that has not started.
    pub fn with_timing(timing: Timing) -> Self {
        Self(Arc::new(Inner {
            phase: watch::Sender::new(Phase::Serving),
            holds: watch::Sender::new(0),
            timing: watch::Sender::new(timing),
        }))
    }

    /// Other times, for a drain that has not started.
    pub fn set_timing(&self, timing: Timing) {
        self.0.timing.send_replace(timing);
    }

    /// The times in force.
    pub fn timing(&self) -> Timing {
        *self.0.timing.borrow()
    }

    /// Where it is now.
    pub fn phase(&self) -> Phase {
        *self.0.phase.borrow()
    }

    /// Whether it has not started.
    pub fn is_serving(&self) -> bool {
        self.phase() == Phase::Serving
    }

    /// A view of the phase that can be waited on.
    pub fn watch(&self) -> watch::Receiver<Phase> {
        self.0.phase.subscribe()
    }

    /// Starts it, once: the phases follow by themselves on the current runtime. Outside a runtime
    /// it ends at once, since nothing could be in flight.
    pub fn start(&self) {
        if !self.advance(Phase::Unready) {
            return;
        }
        let drain = self.clone();
        match tokio::runtime::Handle::try_current() {
            // Owned by no one on purpose: it must outlive whoever asked for it.
            Ok(runtime) => drop(runtime.spawn(async move { drain.run().await })),
            Err(_) => {
                self.advance(Phase::Done);
            }
        }
    }

    async fn run(self) {
        let timing = self.timing();
        tokio::time::sleep(timing.unready).await;
        self.advance(Phase::Draining);
        let mut holds = self.0.holds.subscribe();
        let idle = holds.wait_for(|holds| *holds == 0);
        if tokio::time::timeout(timing.in_flight, idle).await.is_err() {
            tracing::warn!(target: "mesh::drain", "the time to drain is over; what is left is cut");
        }
        self.advance(Phase::Done);
    }

    /// Whether this moved it.
    fn advance(&self, to: Phase) -> bool {
        self.0.phase.send_if_modified(|phase| {
            let forward = *phase < to;
            if forward {
                *phase = to;
            }
            forward
        })
    }

    /// Something in flight begins.
    pub fn hold(&self) -> Hold {
        self.0.holds.send_modify(|holds| *holds += 1);
        Hold(self.clone())
    }

    /// How much is held.
    pub fn held(&self) -> usize {
        *self.0.holds.borrow()
    }

    /// Resolves when `phase` or a later one is reached.
    pub fn reached(&self, phase: Phase) -> impl Future<Output = ()> + Send + 'static {
        let mut watch = self.watch();
        async move {
            // The sender can only be gone with every drain: nothing is left to wait for.
            let _ = watch.wait_for(|now| *now >= phase).await;
        }
    }

    /// Resolves when new connections are to be refused and live ones told to go.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static {
        self.reached(Phase::Draining)
    }

    /// Resolves when it is over.
    pub fn done(&self) -> impl Future<Output = ()> + Send + 'static {
        self.reached(Phase::Done)
    }

    /// Drives a hyper connection to its end: from [`Phase::Draining`] on it is told once to finish
    /// by `graceful` (hyper's `graceful_shutdown`), at [`Phase::Done`] it is dropped.
    ///
    /// Returns `None` if it was cut.
    pub async fn drive<C>(
        &self,
        connection: C,
        graceful: impl FnOnce(std::pin::Pin<&mut C>),
    ) -> Option<C::Output>
    where
        C: Future,
    {
        let _hold = self.hold();
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            biased;
            output = connection.as_mut() => return Some(output),
            () = self.draining() => {}
        }
        graceful(connection.as_mut());
        tokio::select! {
            biased;
            output = connection.as_mut() => Some(output),
            () = self.done() => None,
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for Timing {
    /// 5 s: registries and load balancers that look every few seconds have heard of it. 25 s: with
    /// the 5 it fits the 30 s after which Kubernetes kills.
    fn default() -> Self {
        Self {
            unready: Duration::from_secs(5),
            in_flight: Duration::from_secs(25),
        }
    }
}

// === impl Hold ===

impl Drop for Hold {
    fn drop(&mut self) {
        self.0
            .0
            .holds
            .send_modify(|holds| *holds = holds.saturating_sub(1));
    }
}
