use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Breaker, Event};

/// A call that the breaker let through. Say how it went with [`Permit::record`]; dropped without
/// that, the call was cancelled and gives its place back.
#[must_use = "a permit that is dropped counts as cancelled"]
pub struct Permit {
    breaker: Arc<Breaker>,
    epoch: u32,
    recorded: bool,
}

// === impl Permit ===

impl Permit {
    pub(super) fn new(breaker: Arc<Breaker>, epoch: u32) -> Self {
        Self {
            breaker,
            epoch,
            recorded: false,
        }
    }

    /// How the call went, once. `took` is the time to the answer's headers.
    pub fn record(&mut self, failed: bool, took: Duration, now: Instant) -> Option<Event> {
        if std::mem::replace(&mut self.recorded, true) {
            return None;
        }
        self.breaker.record(self.epoch, failed, took, now)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.recorded {
            self.breaker.cancel(self.epoch);
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}
