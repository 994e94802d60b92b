use std::{net::SocketAddr, pin::pin, time::SystemTime};

use mesh_core::{live::Live, policy::model::Snapshot};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::signal::Signal;
use crate::{
    drain::{Drain, Phase},
    mesh::ServingGuard,
    runtime::AbortOnDrop,
    telemetry::Gauge,
    tls::Credentials,
};

/// A running server. Dropping it cuts its connections; [`ServerHandle::shutdown`] does not.
#[must_use = "dropping the handle stops the server"]
#[derive(Debug)]
pub struct ServerHandle {
    local: SocketAddr,
    connections: TaskTracker,
    stop: CancellationToken,
    done: watch::Receiver<bool>,
    _task: AbortOnDrop,
}

/// What the server's own task looks after.
pub(super) struct Running {
    pub(super) local: SocketAddr,
    pub(super) signal: watch::Sender<Signal>,
    pub(super) accepting: JoinHandle<()>,
    pub(super) connections: TaskTracker,
    pub(super) announced: Option<ServingGuard>,
    pub(super) policy: Live<Snapshot>,
    pub(super) drain: Drain,
    /// Whether it ends with the mesh's drain.
    pub(super) drains: bool,
    pub(super) credentials: Credentials,
    pub(super) gauges: Gauges,
}

/// What the server says of the whole process.
pub(super) struct Gauges {
    pub(super) drain: Gauge,
    pub(super) expiry: Gauge,
}

pub(super) fn start(running: Running) -> ServerHandle {
    let (done, watching) = watch::channel(false);
    let stop = CancellationToken::new();
    ServerHandle {
        local: running.local,
        connections: running.connections.clone(),
        stop: stop.clone(),
        done: watching,
        _task: AbortOnDrop::spawn(async move {
            running.run(stop).await;
            done.send_replace(true);
        }),
    }
}

// === impl ServerHandle ===

impl ServerHandle {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Stops this server alone, without the rest of the mesh: no new connection, what is in flight
    /// finishes. Returns when the last connection has ended.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.done().await;
    }

    /// Waits until the server has ended, by the mesh's drain or by its own.
    pub async fn done(&self) {
        let mut done = self.done.clone();
        // An error means that the task is gone, which is an end too.
        let _ = done.wait_for(|done| *done).await;
    }
}

// === impl Running ===

impl Running {
    async fn run(mut self, stop: CancellationToken) {
        let drain = self.drain.clone();
        let hold = self.drains.then(|| drain.hold());
        let gauge = self.gauges.drain.clone();
        let _phases = AbortOnDrop::spawn({
            let mut phase = drain.watch();
            async move {
                loop {
                    gauge.set(f64::from(*phase.borrow_and_update() as u8));
                    if phase.changed().await.is_err() {
                        return;
                    }
                }
            }
        });
        self.serve(&stop).await;
        // A server that was stopped alone leaves the registry now; with the mesh it left before.
        self.announced = None;
        self.signal.send_modify(|signal| signal.finish = true);
        // The listener is closed when its task has ended.
        let _ = (&mut self.accepting).await;
        self.connections.close();
        tokio::select! {
            biased;
            () = self.connections.wait() => {}
            () = out_of_time(&drain, self.drains) => {
                tracing::warn!(
                    target: "mesh::server",
                    left = self.connections.len(),
                    "connections are cut: the time to drain is over"
                );
                self.signal.send_modify(|signal| signal.cut = true);
                self.connections.wait().await;
            }
        }
        drop(hold);
    }

    /// Passes changes on to the connections until it is time to finish.
    async fn serve(&mut self, stop: &CancellationToken) {
        let mut policy_open = true;
        self.say_expiry();
        let mut trust = Box::pin(self.credentials.changed());
        let mut unready = pin!(self.drain.reached(Phase::Unready));
        let mut draining = pin!(self.drain.draining());
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = &mut draining, if self.drains => return,
                () = &mut unready, if self.announced.is_some() => self.announced = None,
                changed = self.policy.changed(), if policy_open => {
                    policy_open = changed.is_ok();
                    self.signal.send_modify(|signal| signal.epoch += 1);
                }
                _ = &mut trust => {
                    // Before anybody looks, so that no change falls between two waits.
                    trust.set(self.credentials.changed());
                    self.say_expiry();
                    self.signal.send_modify(|signal| signal.epoch += 1);
                }
            }
        }
    }
}

impl Running {
    fn say_expiry(&self) {
        if let Some(identity) = self.credentials.identity()
            && let Ok(at) = identity.not_after().duration_since(SystemTime::UNIX_EPOCH)
        {
            self.gauges.expiry.set(at.as_secs_f64());
        }
    }
}

/// When what is still in flight is cut: the drain's time, also for a server that stops alone.
async fn out_of_time(drain: &Drain, drains: bool) {
    let limit = drain.timing().in_flight;
    tokio::select! {
        () = drain.done(), if drains => {}
        () = tokio::time::sleep(limit) => {}
    }
}
