use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::sync::Notify;

/// The connections of one endpoint, counted against its own limit.
#[derive(Clone, Default)]
pub(super) struct Own(Arc<Inner>);

#[derive(Default)]
struct Inner {
    used: AtomicUsize,
    freed: Notify,
}

/// One of them.
pub(super) struct OwnPlace(Own);

// === impl Own ===

impl Own {
    pub(super) fn is_full(&self, limit: usize) -> bool {
        self.0.used.load(SeqCst) >= limit
    }

    pub(super) fn try_take(&self, limit: usize) -> Option<OwnPlace> {
        let more = |used: usize| (used < limit).then_some(used + 1);
        self.0.used.fetch_update(SeqCst, SeqCst, more).ok()?;
        Some(OwnPlace(self.clone()))
    }

    /// Told when one is freed, or the limit has changed.
    pub(super) fn freed(&self) -> &Notify {
        &self.0.freed
    }
}

// === impl OwnPlace ===

impl Drop for OwnPlace {
    fn drop(&mut self) {
        let own = &self.0.0;
        own.used.fetch_sub(1, SeqCst);
        own.freed.notify_one();
    }
}
