use std::time::Instant;

use crate::clock;
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Pause after the first failure; doubled by each further one.
const FIRST_PAUSE_MS: u64 = 250;
const LONGEST_PAUSE_MS: u64 = 5000;

/// What connecting has shown. Evidence counts for more than discovery: an endpoint that refuses
/// connections is not picked, whatever discovery says, but for one try after each pause.
///
/// One whose connection broke stays in rotation, and is tried after each pause all the same: what it
/// is worth by its last calls is worth nothing if it is another process by now, and a balancer that
/// goes by latency would take a minute to find out.
///
/// ```text
/// proven --refused--> unreachable --answers--> doubted --answers a call begun since--> proven
///        --broke----> doubted
/// ```
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// 0 while nothing has failed since the last proof, else when the next try is due.
    next_try: AtomicU64,
    /// Connections are not made.
    refused: AtomicBool,
    /// Failures, in the milliseconds after which a pause began, as one.
    failures: AtomicU32,
    /// When the pause began.
    paused: AtomicU64,
    /// When the last failure was seen.
    last: AtomicU64,
}

// === impl Reach ===

impl Reach {
    /// A connection could not be made.
    pub(super) fn failed(&self, now: Instant) {
        self.refused.store(true, Relaxed);
        self.broke(now);
    }

    /// A connection ended under a call, or refused it.
    pub(super) fn broke(&self, now: Instant) {
        let now = clock::millis(now);
        self.last.store(now, Relaxed);
        // A hundred calls that waited for one connection have seen one failure.
        if self.next_try.load(Relaxed) != 0 && now < self.paused.load(Relaxed) + FIRST_PAUSE_MS {
            return;
        }
        self.paused.store(now, Relaxed);
        let before = self.failures.fetch_add(1, Relaxed).min(16);
        let pause = (FIRST_PAUSE_MS << before).min(LONGEST_PAUSE_MS);
        self.next_try.store(now + pause, Relaxed);
    }

    /// An answer came: connections are made.
    pub(super) fn reached(&self) {
        // A read first: the line stays shared between cores while all is well.
        if self.next_try.load(Relaxed) != 0 {
            self.refused.store(false, Relaxed);
        }
    }

    /// A call that began then succeeded. True for the first that began after the last failure: the
    /// endpoint is well again.
    pub(super) fn succeeded(&self, began: Instant) -> bool {
        if self.next_try.load(Relaxed) == 0 {
            return false;
        }
        self.refused.store(false, Relaxed);
        clock::millis(began) > self.last.load(Relaxed) && self.prove()
    }

    /// The endpoint is well, by other evidence than a call. True if that was in doubt.
    pub(super) fn prove(&self) -> bool {
        if self.next_try.load(Relaxed) == 0 {
            return false;
        }
        self.refused.store(false, Relaxed);
        self.failures.store(0, Relaxed);
        self.next_try.swap(0, Relaxed) != 0
    }

    /// Nothing has failed since the last proof.
    pub(super) fn is_proven(&self) -> bool {
        self.next_try.load(Relaxed) == 0
    }

    pub(super) fn is_reachable(&self) -> bool {
        self.is_proven() || !self.refused.load(Relaxed)
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
