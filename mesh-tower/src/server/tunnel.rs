//! A connection that has become a tunnel: what its server still knows of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Waker};

use futures_util::task::AtomicWaker;
use http::Response;
use tokio::sync::Notify;

use super::dispatch::Wire;
use super::pace::Paced;
use super::signal::{Cut, Gate};
use crate::transport::{BoxIo, Resets, reset, tunnelled};
use crate::{body::MeshBody, telemetry::Gauge, upgrade::Life};

/// Shared by the connection's bytes, which the service has by now, and by the connection's task,
/// which sees to it that the tunnel ends with the server and with the peer's rights.
#[derive(Clone, Default)]
pub(super) struct Tunnel(Arc<State>);

#[derive(Default)]
struct State {
    cut: AtomicBool,
    reader: AtomicWaker,
    over: Notify,
    call: std::sync::Mutex<Option<(Life, MeshBody)>>,
}

// === impl Tunnel ===

impl Tunnel {
    /// The answer's body is the call, as far as the stack is concerned.
    pub(super) fn begin(response: &mut Response<MeshBody>) -> Self {
        let life = response.extensions_mut().remove::<Life>();
        let body = std::mem::take(response.body_mut());
        let tunnel = Self::default();
        if let Some(life) = life {
            *tunnel.call() = Some((life, body));
        }
        tunnel
    }

    fn call(&self) -> std::sync::MutexGuard<'_, Option<(Life, MeshBody)>> {
        let call = self.0.call.lock();
        call.unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether its bytes must not move any more.
    pub(super) fn is_cut(&self) -> bool {
        self.0.cut.load(Relaxed)
    }

    /// Nothing has come: who waits for it is told when it is cut.
    pub(super) fn waits(&self, waker: &Waker) {
        self.0.reader.register(waker);
    }

    /// Whoever had its bytes has let go of them.
    pub(super) fn is_over(&self) {
        self.0.over.notify_one();
    }

    /// Waits for its end, and brings it about when the gate says so.
    pub(super) async fn watch(&self, gate: &mut Gate, open: &Gauge) {
        let _open = open.enter();
        loop {
            tokio::select! {
                biased;
                () = self.0.over.notified() => break,
                next = gate.next() => match next {
                    // It ends by itself, or with the time to drain.
                    Cut::Finish => {}
                    Cut::Now(reason) => {
                        tracing::info!(
                            target: "mesh::server",
                            remote = %gate.remote(),
                            peer = gate.peer().map_or("-", |peer| peer.as_str()),
                            "tunnel cut: {reason}"
                        );
                        self.0.cut.store(true, Relaxed);
                        self.0.reader.wake();
                        break;
                    }
                }
            }
        }
        if let Some((life, call)) = self.call().take() {
            life.end(call);
        }
    }
}

impl Tunnel {
    /// For a reader: the error of a tunnel that was cut, or a place in the line.
    pub(super) fn poll_cut(&self, cx: &Context<'_>) -> std::io::Result<()> {
        self.waits(cx.waker());
        match self.is_cut() {
            true => Err(cut()),
            false => Ok(()),
        }
    }
}

impl Resets for Paced<Wire> {
    fn reset(&self) {
        reset(self.line().wire().io.get_ref().get_ref());
    }
}

/// The bytes of a tunnel that a request to a server of ours has asked for.
pub(crate) fn accepted(upgraded: hyper::upgrade::Upgraded) -> BoxIo {
    tunnelled::<Paced<Wire>>(upgraded)
}

pub(super) fn cut() -> std::io::Error {
    std::io::Error::new(
        std::io::ErrorKind::ConnectionAborted,
        "the tunnel was cut by its server",
    )
}
