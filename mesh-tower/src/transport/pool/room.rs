use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use mesh_core::ceiling::{Ceiling, Permit};
use mesh_core::error::MeshError;
use mesh_core::policy::model::CeilingsPolicy;
use mesh_core::telemetry::names;
use tokio::sync::Notify;

use super::Shared;
use super::own::OwnPlace;
use crate::telemetry::{Counter, Histogram, Recorder};

/// How many connections may be open, and how many calls may wait for one, over all pools that
/// share it: those of one destination.
///
/// The limits are ceilings, so they can change while connections are open. A call that finds no
/// room makes some, by closing a connection without a call, whichever pool it is in; and a
/// connection that comes free while calls of others wait is closed instead of kept. Otherwise the
/// endpoints used first would keep all the others out.
#[derive(Clone)]
pub(crate) struct Room(Arc<Inner>);

struct Inner {
    connections: Ceiling,
    pending: Ceiling,
    kept_waiting: Counter,
    refused: Counter,
    took: Histogram,
    service: Arc<str>,
    recorder: Recorder,
    freed: Notify,
    waiting: AtomicUsize,
    /// Looked through only when there is no room.
    pools: Mutex<Vec<Weak<Shared>>>,
}

/// One connection's place.
pub(in crate::transport) struct Place {
    permit: Option<Permit>,
    own: Option<OwnPlace>,
    room: Room,
}

/// A call that waits for room.
pub(super) struct Waiter {
    room: Room,
    _pending: Permit,
}

// === impl Room ===

impl Room {
    /// Shares `connections` and `pending` of a service; counts what they did, and how connecting
    /// went.
    pub(crate) fn new(
        connections: Ceiling,
        pending: Ceiling,
        service: &str,
        recorder: &Recorder,
    ) -> Self {
        let reached = |which| {
            let labels = [(names::SERVICE, service), (names::REASON, which)];
            recorder.counter(names::CEILING_REACHED, &labels)
        };
        Self(Arc::new(Inner {
            connections,
            pending,
            kept_waiting: reached("connections"),
            refused: reached("pending"),
            took: recorder.histogram(names::CONNECT_DURATION, &[(names::SERVICE, service)]),
            service: service.into(),
            recorder: recorder.clone(),
            freed: Notify::new(),
            waiting: AtomicUsize::new(0),
            pools: Mutex::default(),
        }))
    }

    /// For one pool alone: `connections`, and the default number of calls that wait.
    pub(super) fn alone(connections: usize) -> Self {
        let connections = u32::try_from(connections.max(1)).unwrap_or(u32::MAX);
        let pending = CeilingsPolicy::default().pending();
        Self::new(
            Ceiling::new(connections),
            Ceiling::new(pending),
            "",
            &Recorder::disabled(),
        )
    }

    pub(super) fn join(&self, pool: &Arc<Shared>) {
        let mut pools = self.0.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    /// The limit may have risen.
    pub(crate) fn changed(&self) {
        self.0.freed.notify_waiters();
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.connections.is_full()
    }

    /// Calls that wait for room, in all pools.
    pub(crate) fn waiting(&self) -> usize {
        self.0.waiting.load(SeqCst)
    }

    /// Counts a connection that was made, or not.
    pub(super) fn connected(&self, took: Duration, failed: Option<&MeshError>) {
        let Some(error) = failed else {
            self.0.took.record(took);
            return;
        };
        let labels = [
            (names::SERVICE, &*self.0.service),
            (names::REASON, error.kind().label()),
        ];
        let counter = self.0.recorder.counter(names::CONNECT_FAILURES, &labels);
        counter.increment(1);
    }

    pub(super) fn try_take(&self) -> Option<Place> {
        let permit = self.0.connections.try_acquire()?;
        Some(Place {
            permit: Some(permit),
            own: None,
            room: self.clone(),
        })
    }

    /// Told when there may be room; whoever waits longest is told first.
    pub(super) fn freed(&self) -> &Notify {
        &self.0.freed
    }

    /// There is room that was told to somebody who does not need it.
    pub(super) fn pass_on(&self) {
        if !self.is_full() {
            self.0.freed.notify_one();
        }
    }

    /// Begins a wait; the limit is the error when too many wait already.
    pub(super) fn wait(&self) -> Result<Waiter, u32> {
        let Some(pending) = self.0.pending.try_acquire() else {
            self.0.refused.increment(1);
            return Err(self.0.pending.limit());
        };
        self.0.kept_waiting.increment(1);
        // Before the look for idle connections: who frees one later sees this.
        self.0.waiting.fetch_add(1, SeqCst);
        Ok(Waiter {
            room: self.clone(),
            _pending: pending,
        })
    }

    /// Closes one connection that has no call, of `own` if it has any.
    pub(super) fn make(&self, own: &Shared) {
        if own.close_one_idle() {
            return;
        }
        let pools = self.0.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = pools
            .iter()
            .filter_map(Weak::upgrade)
            .any(|pool| pool.close_one_idle());
    }
}

// === impl Place ===

impl Place {
    /// One that counts for its endpoint too.
    pub(super) fn of(mut self, own: OwnPlace) -> Self {
        self.own = Some(own);
        self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop((self.permit.take(), self.own.take()));
        self.room.0.freed.notify_one();
    }
}

// === impl Waiter ===

impl Drop for Waiter {
    fn drop(&mut self) {
        self.room.0.waiting.fetch_sub(1, SeqCst);
    }
}
