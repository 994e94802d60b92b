use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Permit;
use super::window::{Counts, Window};
use crate::clock;
use crate::policy::BreakerPolicy;
use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

/// The breaker of one backend. Share it by `Arc`.
#[derive(Debug)]
pub struct Breaker {
    /// See [`Word`].
    word: AtomicU64,
    /// When an open breaker lets calls through again.
    until: AtomicU64,
    window: Window,
    failure_percent: AtomicU32,
    slow_percent: AtomicU32,
    slow_after: AtomicU64,
    minimum_calls: AtomicU32,
    open_for: AtomicU64,
    half_open_calls: AtomicU32,
    refused: AtomicU64,
    opened: AtomicU64,
}

/// What decides about a call, in one atomic: the phase, a number that changes with it, and in the
/// half-open phase how many calls were let through and how many of them have ended.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Word {
    phase: Phase,
    epoch: u32,
    begun: u16,
    ended: u16,
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Calls pass and are counted.
    #[default]
    Closed,
    /// Calls are refused.
    Open,
    /// A few calls pass, to see whether it may close.
    HalfOpen,
}

/// The call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// When calls pass again, at the earliest; zero while those that are let through have not ended.
    pub retry_after: Duration,
}

/// A change of phase, told to the one caller whose call made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It opened.
    Opened {
        /// Failed calls in percent.
        failed: u32,
        /// Slow calls in percent.
        slow: u32,
        /// Of how many.
        calls: u32,
    },
    /// It closed.
    Closed,
}

// === impl Breaker ===

impl Breaker {
    /// A closed breaker by `policy`.
    pub fn new(policy: &BreakerPolicy) -> Self {
        let breaker = Self {
            word: AtomicU64::new(Word::closed(0).pack()),
            until: AtomicU64::new(0),
            window: Window::new(policy.window()),
            failure_percent: AtomicU32::new(0),
            slow_percent: AtomicU32::new(0),
            slow_after: AtomicU64::new(0),
            minimum_calls: AtomicU32::new(0),
            open_for: AtomicU64::new(0),
            half_open_calls: AtomicU32::new(0),
            refused: AtomicU64::new(0),
            opened: AtomicU64::new(0),
        };
        breaker.update(policy);
        breaker
    }

    /// Applies a changed policy. Phase and outcomes stay; a time that has begun ends as it began.
    pub fn update(&self, policy: &BreakerPolicy) {
        self.failure_percent
            .store(policy.failure_percent(), Relaxed);
        self.slow_percent.store(policy.slow_percent(), Relaxed);
        self.slow_after
            .store(clock::duration(policy.slow_after()), Relaxed);
        let minimum = policy.minimum_calls().clamp(1, policy.window().max(1));
        self.minimum_calls.store(minimum, Relaxed);
        self.open_for
            .store(clock::duration(policy.open_for()), Relaxed);
        let half = policy.half_open_calls().clamp(1, 10_000);
        self.half_open_calls.store(half, Relaxed);
        self.window.set_length(policy.window());
    }

    /// Whether a call may pass.
    ///
    /// # Errors
    /// [`Open`] when it may not.
    pub fn admit(self: &Arc<Self>, now: Instant) -> Result<Permit, Open> {
        match self.enter(now) {
            Ok(epoch) => Ok(Permit::new(Arc::clone(self), epoch)),
            Err(open) => {
                self.refused.fetch_add(1, Relaxed);
                Err(open)
            }
        }
    }

    fn enter(&self, now: Instant) -> Result<u32, Open> {
        loop {
            let packed = self.word.load(Acquire);
            let word = Word::unpack(packed);
            let next = match word.phase {
                Phase::Closed => return Ok(word.epoch),
                Phase::Open => {
                    let left = self.until.load(Relaxed).saturating_sub(clock::millis(now));
                    if left > 0 {
                        return Err(Open {
                            retry_after: Duration::from_millis(left),
                        });
                    }
                    word.next(Phase::HalfOpen)
                }
                // A lowered limit can leave nobody to decide: those let through begin anew.
                Phase::HalfOpen if self.is_orphaned(word) => word.next(Phase::HalfOpen),
                Phase::HalfOpen => word,
            };
            if u32::from(next.begun) >= self.half_open_calls.load(Relaxed) {
                return Err(Open {
                    retry_after: Duration::ZERO,
                });
            }
            let entered = Word {
                begun: next.begun + 1,
                ..next
            };
            if self.swap(word, entered) {
                if word.epoch != entered.epoch {
                    // Anything recorded from now on is of this epoch. A record of it that overtakes
                    // this line is lost, and the phase then waits for one call more.
                    self.window.clear();
                }
                return Ok(entered.epoch);
            }
        }
    }

    fn is_orphaned(&self, word: Word) -> bool {
        word.begun == word.ended && u32::from(word.begun) >= self.half_open_calls.load(Relaxed)
    }

    fn swap(&self, from: Word, to: Word) -> bool {
        self.word
            .compare_exchange(from.pack(), to.pack(), AcqRel, Relaxed)
            .is_ok()
    }

    pub(super) fn record(
        &self,
        epoch: u32,
        failed: bool,
        took: Duration,
        now: Instant,
    ) -> Option<Event> {
        let slow = clock::duration(took) > self.slow_after.load(Relaxed);
        let mut word = Word::unpack(self.word.load(Acquire));
        if word.epoch != epoch || word.phase == Phase::Open {
            return None;
        }
        self.window.record(failed, slow);
        if word.phase == Phase::Closed {
            let counts = self.window.counts();
            if counts.calls < self.minimum_calls.load(Relaxed) || !self.is_bad(counts) {
                return None;
            }
            return self.open(word, counts, now);
        }
        let needed = self
            .half_open_calls
            .load(Relaxed)
            .min(self.minimum_calls.load(Relaxed));
        loop {
            let ended = Word {
                ended: word.ended.saturating_add(1),
                ..word
            };
            if u32::from(ended.ended) < needed {
                if self.swap(word, ended) {
                    return None;
                }
            } else {
                let counts = self.window.counts();
                if self.is_bad(counts) {
                    if let Some(event) = self.open(word, counts, now) {
                        return Some(event);
                    }
                } else if self.swap(word, word.next(Phase::Closed)) {
                    self.window.clear();
                    return Some(Event::Closed);
                }
            }
            // Another call of this phase ended at the same time.
            word = Word::unpack(self.word.load(Acquire));
            if word.epoch != epoch {
                return None;
            }
        }
    }

    fn is_bad(&self, counts: Counts) -> bool {
        counts.failed_percent() >= self.failure_percent.load(Relaxed)
            || counts.slow_percent() >= self.slow_percent.load(Relaxed)
    }

    fn open(&self, word: Word, counts: Counts, now: Instant) -> Option<Event> {
        // Before the phase, so that no call sees an open breaker whose time seems to be up.
        let until = clock::millis(now).saturating_add(self.open_for.load(Relaxed));
        self.until.fetch_max(until, AcqRel);
        if !self.swap(word, word.next(Phase::Open)) {
            return None;
        }
        self.window.clear();
        self.opened.fetch_add(1, Relaxed);
        Some(Event::Opened {
            failed: counts.failed_percent(),
            slow: counts.slow_percent(),
            calls: counts.calls,
        })
    }

    /// A call that was let through was cancelled.
    pub(super) fn cancel(&self, epoch: u32) {
        let back = |packed| {
            let word = Word::unpack(packed);
            let counted = word.phase == Phase::HalfOpen && word.epoch == epoch && word.begun > 0;
            counted.then(|| {
                Word {
                    begun: word.begun - 1,
                    ..word
                }
                .pack()
            })
        };
        // Declined in any other phase: then nothing was taken.
        let _ = self.word.fetch_update(AcqRel, Acquire, back);
    }

    /// Where it stands. An open breaker whose time is up says so until a call comes.
    pub fn phase(&self) -> Phase {
        Word::unpack(self.word.load(Relaxed)).phase
    }

    /// Time for which calls are still refused; `None` unless it is open.
    pub fn open_for(&self, now: Instant) -> Option<Duration> {
        let left = self.until.load(Relaxed).saturating_sub(clock::millis(now));
        (self.phase() == Phase::Open).then(|| Duration::from_millis(left))
    }

    /// Calls refused, and times it opened, since it was made.
    pub fn totals(&self) -> (u64, u64) {
        (self.refused.load(Relaxed), self.opened.load(Relaxed))
    }
}

// === impl Word ===

const HALF: u32 = 14;
const HALF_MASK: u64 = (1 << HALF) - 1;

impl Word {
    fn closed(epoch: u32) -> Self {
        Self {
            phase: Phase::Closed,
            epoch,
            begun: 0,
            ended: 0,
        }
    }

    fn next(self, phase: Phase) -> Self {
        Self {
            phase,
            ..Self::closed(self.epoch.wrapping_add(1))
        }
    }

    /// 2 bits of phase, 32 of epoch, 14 each of the counts (10,000 calls at most).
    fn pack(self) -> u64 {
        let count = |n: u16| u64::from(n).min(HALF_MASK);
        let phase = match self.phase {
            Phase::Closed => 0,
            Phase::Open => 1,
            Phase::HalfOpen => 2,
        };
        phase << 62
            | u64::from(self.epoch) << (2 * HALF)
            | count(self.begun) << HALF
            | count(self.ended)
    }

    fn unpack(packed: u64) -> Self {
        Self {
            phase: match packed >> 62 {
                0 => Phase::Closed,
                1 => Phase::Open,
                _ => Phase::HalfOpen,
            },
            epoch: (packed >> (2 * HALF)) as u32,
            begun: (packed >> HALF & HALF_MASK) as u16,
            ended: (packed & HALF_MASK) as u16,
        }
    }
}

// === impl Phase ===

impl Phase {
    /// The word used in metrics and reports.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}
