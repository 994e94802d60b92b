use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Slots of the window.
const SLOTS: u64 = 10;
const COUNT_BITS: u32 = 20;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;

/// Calls and failures of the last interval, in ten slots. Each slot holds its number, calls and
/// failures in one atomic, so that one of an earlier round is told apart and replaced.
#[derive(Debug, Default)]
pub(super) struct Window([AtomicU64; SLOTS as usize]);

/// What a window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) calls: u64,
    pub(super) failures: u64,
}

// === impl Window ===

impl Window {
    /// Counts one call in slot number `at` (time divided by a tenth of the interval).
    pub(super) fn record(&self, ok: bool, at: u64) {
        let Some(slot) = self.0.get((at % SLOTS) as usize) else {
            return;
        };
        let update = |packed| {
            let (number, mut counts) = unpack(packed);
            if number != tag(at) {
                counts = Counts::default();
            }
            if counts.calls == COUNT_MAX {
                // Full: halving keeps the ratio.
                counts.calls /= 2;
                counts.failures /= 2;
            }
            counts.calls += 1;
            counts.failures += u64::from(!ok);
            Some(pack(at, counts))
        };
        // The closure never declines.
        let _ = slot.fetch_update(Relaxed, Relaxed, update);
    }

    /// The sum of the ten slots that end with `at`.
    pub(super) fn sum(&self, at: u64) -> Counts {
        let mut sum = Counts::default();
        for back in 0..SLOTS {
            let Some(number) = at.checked_sub(back) else {
                break;
            };
            let slot = self.0.get((number % SLOTS) as usize);
            let (found, counts) = unpack(slot.map_or(0, |slot| slot.load(Relaxed)));
            if found == tag(number) {
                sum.calls += counts.calls;
                sum.failures += counts.failures;
            }
        }
        sum
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        for slot in &self.0 {
            slot.store(0, Relaxed);
        }
    }
}

/// A slot's number as far as it is kept: 24 bits, years of slots of a second.
fn tag(at: u64) -> u64 {
    at & 0xff_ffff
}

fn pack(at: u64, counts: Counts) -> u64 {
    tag(at) << (2 * COUNT_BITS) | counts.calls << COUNT_BITS | counts.failures
}

fn unpack(packed: u64) -> (u64, Counts) {
    let counts = Counts {
        calls: packed >> COUNT_BITS & COUNT_MAX,
        failures: packed & COUNT_MAX,
    };
    (packed >> (2 * COUNT_BITS), counts)
}

// === impl Counts ===

impl Counts {
    /// At least `percent` of the calls failed.
    pub(super) fn reaches(self, percent: u32) -> bool {
        self.calls > 0 && self.failures * 100 >= self.calls * u64::from(percent)
    }

    /// Failures in percent, rounded.
    pub(super) fn percent(self) -> u32 {
        let percent = (self.failures * 100 + self.calls / 2).checked_div(self.calls);
        percent.map_or(0, |p| p.min(100) as u32)
    }

    /// The failure rate here is less than half of that in `other`.
    pub(super) fn fails_less_than_half_of(self, other: Self) -> bool {
        // a/b < c/(2d), without dividing
        let (mine, theirs) = (u128::from(self.failures), u128::from(other.failures));
        self.calls == 0 || 2 * mine * u128::from(other.calls) < theirs * u128::from(self.calls)
    }

    pub(super) fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.failures += other.failures;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_leaves_the_window_after_ten_steps() {
        let window = Window::default();
        window.record(false, 100);
        window.record(true, 100);
        window.record(true, 105);
        let counts = |calls, failures| Counts { calls, failures };
        assert_eq!(window.sum(109), counts(3, 1));
        assert_eq!(window.sum(110), counts(1, 0));
        assert_eq!(window.sum(115), counts(0, 0));
        window.record(true, 110);
        assert_eq!(window.sum(110), counts(2, 0));
    }

    #[test]
    fn a_full_slot_keeps_its_ratio() {
        let window = Window::default();
        for i in 0..1_200_000_u32 {
            window.record(i % 4 != 0, 7);
        }
        assert_eq!(window.sum(7).percent(), 25);
    }

    #[test]
    fn rates_are_compared_without_rounding() {
        let counts = |calls, failures| Counts { calls, failures };
        assert!(counts(100, 14).fails_less_than_half_of(counts(10, 3)));
        assert!(!counts(100, 15).fails_less_than_half_of(counts(10, 3)));
        assert!(counts(0, 0).fails_less_than_half_of(counts(10, 3)));
        assert!(counts(20, 4).reaches(20) && !counts(20, 3).reaches(20));
        assert!(!counts(0, 0).reaches(0));
    }
}
