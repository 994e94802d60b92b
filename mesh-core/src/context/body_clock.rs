use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// When the last piece of a request's body came by. Clones are the same clock.
///
/// A timeout is for the answer, and nobody answers before the request is there: so it counts from the
/// request's last piece, as Envoy's route timeout and GEP-1742 have it. A request without a body, or whose
/// body came with its head, has no clock: nothing moves.
#[derive(Clone, Debug, Default)]
pub struct BodyClock(Option<Arc<Moved>>);

#[derive(Debug)]
struct Moved {
    began: Instant,
    /// Nanoseconds from there to the last piece.
    nanos: AtomicU64,
}

/// When a caller stops waiting: an instant, moved by the pieces of the request's body.
#[derive(Clone, Debug)]
pub struct Deadline {
    at: Instant,
    body: BodyClock,
}

// === impl BodyClock ===

impl BodyClock {
    /// The clock of a request whose head arrived at `now`, with its body to follow.
    pub fn start(now: Instant) -> Self {
        Self(Some(Arc::new(Moved {
            began: now,
            nanos: AtomicU64::new(0),
        })))
    }

    /// A piece came by.
    pub fn piece(&self, now: Instant) {
        if let Some(moved) = &self.0 {
            let since = now.saturating_duration_since(moved.began);
            let nanos = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
            moved.nanos.store(nanos, Relaxed);
        }
    }

    /// From the head to the last piece.
    fn since_head(&self) -> Duration {
        let nanos = self.0.as_ref().map(|moved| moved.nanos.load(Relaxed));
        Duration::from_nanos(nanos.unwrap_or(0))
    }

    /// From `from` to the last piece; zero if none has come since.
    #[inline]
    pub fn moved(&self, from: Instant) -> Duration {
        let Some(moved) = &self.0 else {
            return Duration::ZERO;
        };
        let last = moved.began + Duration::from_nanos(moved.nanos.load(Relaxed));
        last.saturating_duration_since(from)
    }
}

// === impl Deadline ===

impl Deadline {
    /// `at`, if no piece comes by.
    pub fn new(at: Instant, body: BodyClock) -> Self {
        Self { at, body }
    }

    /// When it is, as of now.
    pub fn at(&self) -> Instant {
        let moved = self.at.checked_add(self.body.since_head());
        moved.unwrap_or(self.at)
    }

    /// What is left at `now`; zero when it has passed.
    pub fn left(&self, now: Instant) -> Duration {
        self.at().saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gep_1742_the_time_counts_from_the_last_piece_of_the_request() {
        let now = Instant::now();
        let clock = BodyClock::start(now);
        let deadline = Deadline::new(now + Duration::from_secs(15), clock.clone());
        let left = |at| deadline.left(now + Duration::from_secs(at)).as_secs();
        assert_eq!((left(0), left(15), left(40)), (15, 0, 0));
        clock.piece(now + Duration::from_secs(40));
        assert_eq!((left(40), left(54), left(55)), (15, 1, 0));
        // A limit that begins later, as that of a second attempt does.
        assert_eq!(clock.moved(now + Duration::from_secs(30)).as_secs(), 10);
    }

    #[test]
    fn without_a_body_to_follow_nothing_moves() {
        let now = Instant::now();
        let clock = BodyClock::default();
        clock.piece(now + Duration::from_secs(1));
        assert_eq!(Deadline::new(now, clock).at(), now);
    }
}
