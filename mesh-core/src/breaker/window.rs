use crate::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, Ordering::Relaxed};

/// The largest window: what policy allows, rounded up. A model steps through every place of it.
const CAPACITY: u32 = if cfg!(loom) { 4 } else { 10_240 };

const SEEN: u8 = 1;
const FAILED: u8 = 2;
const SLOW: u8 = 4;

/// The outcomes of the last calls, in a ring of bytes, with their sums beside it.
///
/// Each value that enters the ring is added to the sums and each that leaves it is taken off, so the
/// sums are those of the ring whenever nobody is in the middle of a record.
#[derive(Debug)]
pub(super) struct Window {
    ring: Box<[AtomicU8]>,
    cursor: AtomicU32,
    length: AtomicU32,
    calls: AtomicI32,
    failed: AtomicI32,
    slow: AtomicI32,
}

/// What a window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) calls: u32,
    pub(super) failed: u32,
    pub(super) slow: u32,
}

// === impl Window ===

impl Window {
    pub(super) fn new(length: u32) -> Self {
        Self {
            ring: (0..CAPACITY).map(|_| AtomicU8::new(0)).collect(),
            cursor: AtomicU32::new(0),
            length: AtomicU32::new(length.clamp(1, CAPACITY)),
            calls: AtomicI32::new(0),
            failed: AtomicI32::new(0),
            slow: AtomicI32::new(0),
        }
    }

    /// Changes the length; the newest outcomes stay.
    pub(super) fn set_length(&self, length: u32) {
        let length = length.clamp(1, CAPACITY);
        let before = self.length.swap(length, Relaxed);
        let cursor = self.cursor.load(Relaxed);
        for back in length..before {
            self.replace(place(cursor, back + 1), 0);
        }
    }

    pub(super) fn record(&self, failed: bool, slow: bool) {
        let at = self.cursor.fetch_add(1, Relaxed);
        let length = self.length.load(Relaxed);
        if length < CAPACITY {
            self.replace(place(at, length), 0);
        }
        let value = SEEN | if failed { FAILED } else { 0 } | if slow { SLOW } else { 0 };
        self.replace(place(at, 0), value);
    }

    fn replace(&self, at: usize, value: u8) {
        let Some(slot) = self.ring.get(at) else {
            return;
        };
        let before = slot.swap(value, Relaxed);
        for (bit, sum) in [
            (SEEN, &self.calls),
            (FAILED, &self.failed),
            (SLOW, &self.slow),
        ] {
            let change = i32::from(value & bit != 0) - i32::from(before & bit != 0);
            if change != 0 {
                sum.fetch_add(change, Relaxed);
            }
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let read = |sum: &AtomicI32| u32::try_from(sum.load(Relaxed)).unwrap_or(0);
        Counts {
            calls: read(&self.calls),
            failed: read(&self.failed),
            slow: read(&self.slow),
        }
    }

    pub(super) fn clear(&self) {
        (0..self.ring.len()).for_each(|at| self.replace(at, 0));
    }
}

/// Where the outcome `back` steps before number `at` is.
fn place(at: u32, back: u32) -> usize {
    // The cursor wraps; the ring's length does not divide 2^32, so once in four thousand million
    // calls a few outcomes leave early or late.
    (u64::from(at) + u64::from(CAPACITY) - u64::from(back)) as usize % CAPACITY as usize
}

// === impl Counts ===

impl Counts {
    /// Failed calls in percent, rounded down.
    pub(super) fn failed_percent(self) -> u32 {
        percent(self.failed, self.calls)
    }

    /// Slow calls in percent, rounded down.
    pub(super) fn slow_percent(self) -> u32 {
        percent(self.slow, self.calls)
    }
}

fn percent(part: u32, whole: u32) -> u32 {
    let percent = (u64::from(part) * 100).checked_div(u64::from(whole));
    percent.map_or(0, |p| p.min(100) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(calls: u32, failed: u32, slow: u32) -> Counts {
        Counts {
            calls,
            failed,
            slow,
        }
    }

    #[test]
    fn only_the_last_calls_count() {
        let window = Window::new(10);
        (0..10).for_each(|_| window.record(true, false));
        assert_eq!(window.counts(), counts(10, 10, 0));
        (0..4).for_each(|_| window.record(false, true));
        assert_eq!(window.counts(), counts(10, 6, 4));
        (0..50_000).for_each(|_| window.record(false, false));
        assert_eq!(window.counts(), counts(10, 0, 0));
    }

    #[test]
    fn a_changed_length_keeps_the_newest() {
        let window = Window::new(10);
        (0..6).for_each(|_| window.record(true, false));
        (0..4).for_each(|_| window.record(false, false));
        window.set_length(5);
        assert_eq!(window.counts(), counts(5, 1, 0));
        window.set_length(20);
        (0..15).for_each(|_| window.record(false, false));
        assert_eq!(window.counts(), counts(20, 1, 0));
        window.record(false, false);
        window.record(false, false);
        assert_eq!(window.counts(), counts(20, 0, 0));
    }

    #[test]
    fn the_largest_window_holds_as_many_as_it_says() {
        let window = Window::new(u32::MAX);
        (0..CAPACITY * 2).for_each(|n| window.record(n % 2 == 0, false));
        assert_eq!(window.counts(), counts(CAPACITY, CAPACITY / 2, 0));
        window.clear();
        assert_eq!(window.counts(), Counts::default());
    }

    #[test]
    fn threads_lose_no_count() {
        let window = Window::new(100);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..20_000).for_each(|n| window.record(n % 4 == 0, n % 2 == 0)));
            }
        });
        let seen: u32 = window
            .ring
            .iter()
            .map(|s| u32::from(s.load(Relaxed) & SEEN))
            .sum();
        let sums = window.counts();
        assert_eq!(sums.calls, seen);
        // Two threads may write a place in the order in which they did not take it.
        assert!((95..=105).contains(&sums.calls), "{sums:?}");
    }
}
