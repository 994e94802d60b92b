use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// A fixed bound on requests in work, streams included.
#[derive(Debug)]
pub(crate) struct Room {
    limit: usize,
    used: AtomicUsize,
}

/// One place, given back on drop.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Room>);

// === impl Room ===

impl Room {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
        })
    }

    /// A place, if there is one. A refused request takes its own unit back: no loop, no lock.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Permit> {
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
