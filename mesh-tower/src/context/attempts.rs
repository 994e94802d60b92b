//! The attempts of a call, and the endpoints that they went to.

use std::sync::atomic::{AtomicU64, Ordering};

use super::CallContext;

/// How many earlier picks are remembered, and so not picked again.
pub(super) const PICKS: usize = 4;

impl CallContext {
    /// The attempt that is being made, from 1.
    pub fn attempt(&self) -> u32 {
        self.0.attempt.load(Ordering::Relaxed)
    }

    pub(crate) fn set_attempt(&self, attempt: u32) {
        self.0.attempt.store(attempt, Ordering::Relaxed);
    }

    /// An attempt that will be followed by another has reached no endpoint.
    pub(crate) fn not_sent(&self) {
        self.0.unsent.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of the attempt as a callee counts: what never reached one is no attempt to it
    /// (A6: transparent retries are not counted).
    pub(crate) fn attempt_of_callee(&self) -> u32 {
        let unsent = self.0.unsent.load(Ordering::Relaxed);
        self.attempt().saturating_sub(unsent).max(1)
    }

    /// Remembers which endpoint (by its id, never 0) the current attempt went to.
    pub(crate) fn set_pick(&self, id: u64) {
        self.pick_slot(self.attempt()).store(id, Ordering::Relaxed);
    }

    /// The id of the endpoint of an attempt, 0 if none was picked.
    pub(crate) fn pick(&self, attempt: u32) -> u64 {
        self.pick_slot(attempt).load(Ordering::Relaxed)
    }

    /// The current attempt tries an endpoint for those that come after it.
    pub(crate) fn set_probe(&self) {
        self.0.probe.store(self.attempt(), Ordering::Relaxed);
    }

    pub(crate) fn is_probe(&self) -> bool {
        self.0.probe.load(Ordering::Relaxed) == self.attempt()
    }

    pub(crate) fn clear_pick(&self) {
        self.set_pick(0);
    }

    fn pick_slot(&self, attempt: u32) -> &AtomicU64 {
        &self.0.picks[attempt.saturating_sub(1) as usize % PICKS]
    }

    /// Ids of the endpoints of earlier attempts; 0 where there was none.
    pub(crate) fn earlier_picks(&self) -> [u64; PICKS] {
        let mut picks = [0; PICKS];
        let attempt = self.attempt();
        for earlier in attempt.saturating_sub(PICKS as u32).max(1)..attempt {
            picks[earlier.saturating_sub(1) as usize % PICKS] = self.pick(earlier);
        }
        picks
    }
}
