use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};

use super::room::Waiter;

#[derive(Default)]
pub(in crate::transport) struct Stats {
    pub(super) open: AtomicUsize,
    pub(super) opened: AtomicU64,
    pub(super) waiting: AtomicUsize,
}

/// An open connection, for the statistics.
pub(in crate::transport) struct Counted(Arc<Stats>);

/// A call that waits for a connection.
pub(super) struct Waiting<'a> {
    stats: &'a Stats,
    /// Where a connection that comes free would do as well as room for a new one.
    shard: Option<&'a AtomicUsize>,
    _waiter: Waiter,
}

// === impl Stats ===

impl Stats {
    pub(in crate::transport) fn opened(self: &Arc<Self>) -> Counted {
        self.open.fetch_add(1, Relaxed);
        self.opened.fetch_add(1, Relaxed);
        Counted(self.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

// === impl Waiting ===

impl<'a> Waiting<'a> {
    pub(super) fn new(stats: &'a Stats, shard: Option<&'a AtomicUsize>, waiter: Waiter) -> Self {
        stats.waiting.fetch_add(1, Relaxed);
        if let Some(shard) = shard {
            shard.fetch_add(1, SeqCst);
        }
        Self {
            stats,
            shard,
            _waiter: waiter,
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.stats.waiting.fetch_sub(1, Relaxed);
        if let Some(shard) = self.shard {
            shard.fetch_sub(1, SeqCst);
        }
    }
}
