use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Requests in work, shared by all clones of a layer and its services.
#[derive(Debug)]
pub(super) struct Room {
    limit: usize,
    used: AtomicUsize,
}

/// One place, given back on drop.
pub(super) struct Permit(Arc<Room>);

// === impl Room ===

impl Room {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
        })
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// A place, if there is one. A refused request takes its own unit back: no loop, no lock.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Permit> {
        if self.used.fetch_add(1, Relaxed) < self.limit {
            return Some(Permit(self.clone()));
        }
        self.used.fetch_sub(1, Relaxed);
        None
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, Relaxed);
    }
}
