use std::sync::Arc;

use tokio::sync::watch;
use tower_layer::Layer;

use super::Health;
use crate::drain::Drain;

/// Where a liveness probe asks.
pub(super) const HEALTH: &str = "/.mesh/health";
/// Where a readiness probe asks.
pub(super) const READY: &str = "/.mesh/ready";

/// Says why the process is not ready; `None` when it is.
type Probe = Arc<dyn Fn() -> Option<&'static str> + Send + Sync>;

/// Answers probes.
#[derive(Clone)]
pub struct HealthLayer {
    state: State,
}

/// Whether the process is ready, and when that changes.
#[derive(Clone)]
pub(super) struct State {
    probe: Probe,
    follow: Option<Follow>,
}

/// What readiness is made of.
#[derive(Clone)]
struct Follow {
    ready: watch::Receiver<bool>,
    drain: Drain,
}

// === impl HealthLayer ===

impl HealthLayer {
    /// `unready` says why the process does not want traffic, `None` when it does. Who watches by
    /// gRPC is told the state once, since nothing tells when it changes.
    pub fn new(unready: impl Fn() -> Option<&'static str> + Send + Sync + 'static) -> Self {
        Self {
            state: State {
                probe: Arc::new(unready),
                follow: None,
            },
        }
    }

    /// Ready when `ready` holds and `drain` has not begun.
    pub(crate) fn following(ready: watch::Receiver<bool>, drain: Drain) -> Self {
        let follow = Follow { ready, drain };
        let seen = follow.clone();
        let unready = move || match *seen.ready.borrow() {
            _ if !seen.drain.is_serving() => Some("draining"),
            true => None,
            false => Some("not ready: identity or policy has not arrived"),
        };
        Self {
            state: State {
                probe: Arc::new(unready),
                follow: Some(follow),
            },
        }
    }
}

// === impl State ===

impl State {
    /// Why the process is not ready.
    pub(super) fn unready(&self) -> Option<&'static str> {
        (self.probe)()
    }

    /// Whether it will not be ready again.
    pub(super) fn is_over(&self) -> bool {
        let follow = self.follow.as_ref();
        follow.is_some_and(|follow| !follow.drain.is_serving())
    }

    /// Resolves when the state may be another than at this call.
    pub(super) fn changed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut follow = self.follow.as_ref().map(|follow| {
            let mut ready = follow.ready.clone();
            ready.mark_unchanged();
            (ready, follow.drain.watch())
        });
        async move {
            if let Some((ready, drain)) = &mut follow {
                tokio::select! {
                    Ok(()) = ready.changed() => return,
                    Ok(_) = drain.changed() => return,
                    // Nobody is left to change it.
                    else => {}
                }
            }
            std::future::pending().await
        }
    }
}

impl<S> Layer<S> for HealthLayer {
    type Service = Health<S>;

    fn layer(&self, inner: S) -> Health<S> {
        Health {
            inner,
            state: self.state.clone(),
        }
    }
}

impl std::fmt::Debug for HealthLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HealthLayer").finish_non_exhaustive()
    }
}
