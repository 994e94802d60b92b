use std::sync::Arc;
use std::time::Instant;

use mesh_core::classify::Class;
use mesh_core::context::Criticality;
use mesh_core::overload::throttle::{Throttle, Ticket};

/// An attempt that is counted as accepted until the backend says otherwise.
pub(crate) struct Counted {
    throttle: Arc<Throttle>,
    ticket: Ticket,
}

// === impl Counted ===

impl Counted {
    pub(crate) fn new(throttle: &Arc<Throttle>, criticality: Criticality, now: Instant) -> Self {
        Self {
            ticket: throttle.count(criticality, now),
            throttle: throttle.clone(),
        }
    }

    /// What the attempt came to.
    pub(crate) fn ended(self, class: Class, now: Instant) {
        if class.is_overload() {
            self.throttle.refused(self.ticket, now);
        }
    }
}
