//! What tells connections to finish, and what cuts them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use mesh_core::identity::SpiffeId;
use tokio::sync::watch;

use super::connection::Shared;
use crate::access::Rules;

/// The longest time between two looks at an exception that ends: dates are the wall clock's, which
/// may be set, and timers are not.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// How long a peer whose access was revoked may still be told so before its connection goes.
const GRACE: Duration = Duration::from_secs(1);

/// The state that all connections of a server watch. One value instead of three (drain, policy,
/// trust), so that a connection waits for one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Signal {
    /// Connections take no more than what is on its way.
    pub(super) finish: bool,
    /// The time for that is over.
    pub(super) cut: bool,
    /// Raised when policy or trust changed: connections look whether they may go on.
    pub(super) epoch: u64,
}

/// What a connection is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Answer what has come, take nothing new, end.
    Finish,
    /// End at once, for this reason.
    Now(&'static str),
}

/// One connection's view of the signal and of its own rights.
pub(super) struct Gate {
    shared: Arc<Shared>,
    signal: watch::Receiver<Signal>,
    rules: Rules,
    peer: Option<SpiffeId>,
    tls: bool,
    remote: SocketAddr,
    /// Some request of this peer could be allowed, when last looked.
    allowed: bool,
    /// When a peer without rights is cut.
    last_call: Option<tokio::time::Instant>,
    /// When the exception that lets this peer in without TLS is to be looked at again.
    exception: Option<tokio::time::Instant>,
}

/// Whether anything of a peer could be allowed.
fn may_connect(shared: &Shared, rules: &mut Rules, peer: Option<&SpiffeId>) -> bool {
    match shared.bytes {
        None => rules.may_connect(peer),
        Some(_) => rules.decide_bytes(peer).passes(),
    }
}

// === impl Gate ===

impl Gate {
    pub(super) fn new(
        shared: Arc<Shared>,
        mut rules: Rules,
        peer: Option<SpiffeId>,
        tls: bool,
        remote: SocketAddr,
    ) -> Self {
        let mut signal = shared.signal.clone();
        // A connection that was accepted just before the drain must see it.
        signal.mark_changed();
        let mut gate = Self {
            allowed: may_connect(&shared, &mut rules, peer.as_ref()),
            signal,
            shared,
            rules,
            peer,
            tls,
            remote,
            last_call: None,
            exception: None,
        };
        gate.look_at_exception();
        gate
    }

    fn look_at_exception(&mut self) {
        let left = self.shared.excepted_for(self.tls, self.remote);
        self.exception = left.map(|left| tokio::time::Instant::now() + left.min(LOOK_AGAIN));
    }

    /// Whether the peer may bring bytes, when last looked.
    pub(super) fn is_allowed(&self) -> bool {
        self.allowed
    }

    pub(super) fn peer(&self) -> Option<&SpiffeId> {
        self.peer.as_ref()
    }

    pub(super) fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Waits until there is something to do. Cancel safe: what is known is kept in `self`.
    pub(super) async fn next(&mut self) -> Cut {
        loop {
            let end = self.last_call.into_iter().chain(self.exception).min();
            let changed = match end {
                None => self.signal.changed().await,
                Some(at) => match tokio::time::timeout_at(at, self.signal.changed()).await {
                    Ok(changed) => changed,
                    Err(_) if self.last_call == Some(at) => {
                        return Cut::Now("access was revoked [M4001]");
                    }
                    // The exception has ended, or it is time to look again.
                    Err(_) => Ok(()),
                },
            };
            if changed.is_err() {
                return Cut::Now("the server is gone");
            }
            let signal = *self.signal.borrow_and_update();
            if signal.cut {
                return Cut::Now("the time to drain is over");
            }
            if let Some(reason) = self
                .shared
                .revoked(self.peer.as_ref(), self.tls, self.remote)
            {
                return Cut::Now(reason);
            }
            self.look_at_exception();
            let allowed = may_connect(&self.shared, &mut self.rules, self.peer.as_ref());
            let revoked = self.allowed && !allowed;
            self.allowed = allowed;
            if revoked && self.last_call.is_none() {
                self.last_call = Some(tokio::time::Instant::now() + GRACE);
                return Cut::Finish;
            }
            if allowed {
                self.last_call = None;
            }
            if signal.finish {
                return Cut::Finish;
            }
        }
    }
}
