use std::time::Instant;

use crate::clock;
use crate::context::Criticality;
use crate::policy::ThrottlePolicy;
use crate::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Slots of the window.
const SLOTS: u64 = 24;
/// Places for slots: some more, so that a late refusal does not meet a slot in use.
const RING: usize = 32;
/// Levels of criticality.
const LEVELS: usize = 4;

/// The throttle of one backend, shared by all callers of it in this process.
#[derive(Debug)]
pub struct Throttle {
    k: AtomicU32,
    most: AtomicU32,
    slot_ms: AtomicU64,
    newest: AtomicU64,
    sums: Counters,
    slots: [Counters; RING],
}

#[derive(Debug, Default)]
struct Counters {
    requests: [AtomicI64; LEVELS],
    accepts: AtomicI64,
}

/// An attempt that was let through, and the slot that it is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "tell the throttle when the backend refused the attempt"]
pub struct Ticket(u64);

// === impl Throttle ===

impl Throttle {
    /// A throttle by `policy` that has seen nothing.
    pub fn new(policy: &ThrottlePolicy) -> Self {
        let throttle = Self {
            k: AtomicU32::new(0),
            most: AtomicU32::new(0),
            slot_ms: AtomicU64::new(1),
            newest: AtomicU64::new(0),
            sums: Counters::default(),
            slots: Default::default(),
        };
        throttle.update(policy);
        throttle
    }

    /// Applies a changed policy. What was counted stays, unless the window's length changed.
    pub fn update(&self, policy: &ThrottlePolicy) {
        self.k.store(policy.k_milli(), Relaxed);
        self.most
            .store(policy.max_reject_percent().min(99), Relaxed);
        let slot_ms = clock::duration(policy.window()).max(SLOTS).div_ceil(SLOTS);
        if self.slot_ms.swap(slot_ms, Relaxed) != slot_ms {
            self.newest.store(0, Relaxed);
            (0..RING as u64).for_each(|slot| self.expire(slot));
        }
    }

    /// Whether an attempt may be made. Counts it in any case.
    pub fn admit(
        &self,
        criticality: Criticality,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Option<Ticket> {
        let held = self.holds_back(criticality, now, rng);
        (!held).then(|| self.count(criticality, now))
    }

    /// Whether a call is to be refused here; counted only then. What is let through is counted
    /// attempt by attempt: [`Throttle::count`].
    pub fn holds_back(
        &self,
        criticality: Criticality,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> bool {
        let slot = self.advance(now);
        let share = self.reject_share(criticality);
        // No random number while all is well, which is nearly always.
        let held = share > 0.0 && rng.f64() < share;
        if held {
            self.add(slot, |c| c.requests.get(level(criticality)), 1);
        }
        held
    }

    /// Counts an attempt that is made, as accepted.
    pub fn count(&self, criticality: Criticality, now: Instant) -> Ticket {
        let slot = self.advance(now);
        self.add(slot, |c| c.requests.get(level(criticality)), 1);
        self.add(slot, |c| Some(&c.accepts), 1);
        Ticket(slot)
    }

    /// The backend refused the attempt as overload.
    pub fn refused(&self, ticket: Ticket, now: Instant) {
        let newest = self.advance(now);
        // Older ones have left the window, with what they were counted as.
        if newest.saturating_sub(ticket.0) < SLOTS {
            self.add(ticket.0, |c| Some(&c.accepts), -1);
        }
    }

    /// The part of the calls of a level that is refused at present, 0 to 0.99.
    pub fn reject_share(&self, criticality: Criticality) -> f64 {
        let by_level = self.sums.requests();
        let requests: f64 = by_level.iter().sum();
        let accepts = self.sums.accepts.load(Relaxed).max(0) as f64;
        let k = f64::from(self.k.load(Relaxed)) / 1000.0;
        // The formula's p, as a number of calls.
        let mut left = (requests - k * accepts) / (requests + 1.0) * requests;
        let most = f64::from(self.most.load(Relaxed)) / 100.0;
        for (at, calls) in by_level.into_iter().enumerate() {
            if left <= 0.0 {
                return 0.0;
            }
            let share = if calls > 0.0 {
                (left / calls).min(most)
            } else {
                most
            };
            if at == level(criticality) {
                return share;
            }
            left -= share * calls;
        }
        0.0
    }

    /// Attempts wanted and accepted in the window.
    pub fn counts(&self, now: Instant) -> (u64, u64) {
        self.advance(now);
        let requests = self.sums.requests().iter().sum::<f64>() as u64;
        let accepts = self.sums.accepts.load(Relaxed).max(0) as u64;
        (requests, accepts)
    }

    fn add(&self, slot: u64, which: impl Fn(&Counters) -> Option<&AtomicI64>, n: i64) {
        let counters = self.slots.get(slot as usize % RING);
        // The sums are those of the slots at all times but between these two lines.
        if let Some(counter) = counters.and_then(&which) {
            counter.fetch_add(n, Relaxed);
        }
        if let Some(sum) = which(&self.sums) {
            sum.fetch_add(n, Relaxed);
        }
    }

    /// Begins the slot of `now`, if nobody has, and expires what has left the window.
    fn advance(&self, now: Instant) -> u64 {
        let slot = clock::millis(now) / self.slot_ms.load(Relaxed);
        let newest = self.newest.load(Relaxed);
        if slot <= newest {
            return newest;
        }
        if self
            .newest
            .compare_exchange(newest, slot, Relaxed, Relaxed)
            .is_err()
        {
            return slot;
        }
        let begun = slot.saturating_sub(newest).min(RING as u64);
        for back in 0..begun {
            self.expire((slot - back).wrapping_sub(SLOTS));
        }
        slot
    }

    fn expire(&self, slot: u64) {
        let Some(counters) = self.slots.get(slot as usize % RING) else {
            return;
        };
        let move_out = |from: &AtomicI64, sum: &AtomicI64| {
            sum.fetch_sub(from.swap(0, Relaxed), Relaxed);
        };
        for (from, sum) in counters.requests.iter().zip(&self.sums.requests) {
            move_out(from, sum);
        }
        move_out(&counters.accepts, &self.sums.accepts);
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new(&ThrottlePolicy::default())
    }
}

/// The position of a level: what is refused first comes first.
fn level(criticality: Criticality) -> usize {
    match criticality {
        Criticality::Sheddable => 0,
        Criticality::SheddablePlus => 1,
        Criticality::Critical => 2,
        Criticality::CriticalPlus => 3,
    }
}

// === impl Counters ===

impl Counters {
    fn requests(&self) -> [f64; LEVELS] {
        std::array::from_fn(|at| {
            let count = self.requests.get(at).map_or(0, |c| c.load(Relaxed));
            count.max(0) as f64
        })
    }
}
