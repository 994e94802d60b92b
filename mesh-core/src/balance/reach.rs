use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crate::clock;

/// Pause after the first refused connection; doubled by each further one.
const FIRST_PAUSE_MS: u64 = 250;
const LONGEST_PAUSE_MS: u64 = 5000;

/// What connecting has shown. Evidence counts for more than discovery: an endpoint that refuses
/// connections is not picked, whatever discovery says, but for one try after each pause.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// 0 while connections succeed, else when the next try is due.
    next_try: AtomicU64,
    failures: AtomicU32,
}

// === impl Reach ===

impl Reach {
    /// A connection could not be made.
    pub(super) fn failed(&self, now: Instant) {
        let before = self.failures.fetch_add(1, Relaxed).min(16);
        let pause = (FIRST_PAUSE_MS << before).min(LONGEST_PAUSE_MS);
        self.next_try.store(clock::millis(now) + pause, Relaxed);
    }

    /// A connection was made, or an answer came.
    pub(super) fn succeeded(&self) {
        // A read first: the line stays shared between cores while all is well.
        if self.next_try.load(Relaxed) != 0 {
            self.next_try.store(0, Relaxed);
            self.failures.store(0, Relaxed);
        }
    }

    pub(super) fn is_reachable(&self) -> bool {
        self.next_try.load(Relaxed) == 0
    }

    /// A try is due.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next_try.load(Relaxed) <= clock::millis(now)
    }

    /// Takes the one try that is due; the next is due after another pause, should this one leave
    /// no trace.
    pub(super) fn claim(&self, now: Instant) -> bool {
        let now = clock::millis(now);
        let due = self.next_try.load(Relaxed);
        due != 0
            && due <= now
            && self
                .next_try
                .compare_exchange(due, now + LONGEST_PAUSE_MS, Relaxed, Relaxed)
                .is_ok()
    }
}
