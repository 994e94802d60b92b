use std::time::Instant;

use super::BudgetPolicy;
use crate::clock;
use crate::sync::atomic::{
    AtomicI64, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

/// Slots of the window.
const SLOTS: u64 = 10;
/// Places for slots: withdrawals are remembered one slot longer, and one more takes late comers.
const RING: usize = 16;
/// What a retry costs; a call earns `percent`.
const COST: i64 = 100;

/// A windowed retry budget (Finagle's `RetryBudget`): in any window the retries are at most
/// `percent` of the calls in it, plus `min_per_second` for each second of it.
///
/// Each call deposits `percent` tokens and each retry withdraws 100, so 30 % is 30 % and not a
/// third. A reserve of `min_per_second x interval` retries is always there. Deposits expire with
/// the window, in ten slots; withdrawals a slot later, so that no choice of window shows more
/// retries than it allows. Atomics only: expired slots are cleared by whoever comes first.
#[derive(Debug)]
pub struct Budget {
    percent: AtomicI64,
    reserve: AtomicI64,
    slot_ms: AtomicU64,
    /// Sum of the slots below.
    balance: AtomicI64,
    /// Number of the newest slot that was begun.
    newest: AtomicU64,
    deposits: [AtomicI64; RING],
    withdrawals: [AtomicI64; RING],
}

// === impl Budget ===

impl Budget {
    /// A budget by `policy`.
    pub fn new(policy: &BudgetPolicy) -> Self {
        let budget = Self {
            percent: AtomicI64::new(0),
            reserve: AtomicI64::new(0),
            slot_ms: AtomicU64::new(1),
            balance: AtomicI64::new(0),
            newest: AtomicU64::new(0),
            deposits: Default::default(),
            withdrawals: Default::default(),
        };
        budget.update(policy);
        budget
    }

    /// Applies a changed policy. What was earned and spent stays, unless the window's length
    /// changed: then the count starts anew.
    pub fn update(&self, policy: &BudgetPolicy) {
        self.percent.store(i64::from(policy.percent()), Relaxed);
        let interval_ms = clock::duration(policy.interval()).max(SLOTS);
        // In thousandths of a second, so that half a second of window earns half.
        let reserve = u64::from(policy.min_per_second()) * interval_ms * COST as u64 / 1000;
        self.reserve
            .store(i64::try_from(reserve).unwrap_or(i64::MAX / 4), Relaxed);
        let slot_ms = interval_ms.div_ceil(SLOTS);
        if self.slot_ms.swap(slot_ms, Relaxed) != slot_ms {
            self.newest.store(0, Relaxed);
            self.clear_all();
        }
    }

    /// Counts a call, which earns its part of a retry.
    pub fn deposit(&self, now: Instant) {
        let slot = self.advance(now);
        let tokens = self.percent.load(Relaxed);
        add(&self.deposits, slot, tokens);
        self.balance.fetch_add(tokens, Relaxed);
    }

    /// Takes a retry out of the budget; `false` when it is empty.
    pub fn withdraw(&self, now: Instant) -> bool {
        let slot = self.advance(now);
        let least = COST - self.reserve.load(Relaxed);
        let taken = self
            .balance
            .fetch_update(Relaxed, Relaxed, |balance| {
                (balance >= least).then_some(balance - COST)
            })
            .is_ok();
        if taken {
            add(&self.withdrawals, slot, -COST);
        }
        taken
    }

    /// Gives a withdrawn retry back that was not made after all.
    pub fn refund(&self, now: Instant) {
        let slot = self.advance(now);
        add(&self.withdrawals, slot, COST);
        self.balance.fetch_add(COST, Relaxed);
    }

    /// How many retries it would pay for now.
    pub fn balance(&self, now: Instant) -> u64 {
        self.advance(now);
        let tokens = self.balance.load(Relaxed) + self.reserve.load(Relaxed);
        u64::try_from(tokens / COST).unwrap_or(0)
    }

    /// Begins the slot of `now`, if nobody has, and expires what is too old.
    fn advance(&self, now: Instant) -> u64 {
        let slot = clock::millis(now) / self.slot_ms.load(Relaxed);
        let newest = self.newest.load(Acquire);
        if slot <= newest {
            // The usual case; also a thread whose `now` is a little older.
            return newest;
        }
        // Deposits before the slot begins, so that nobody is paid of what has expired; withdrawals
        // after it, so that nobody is paid of what has not. A place is emptied by one thread.
        let begun = slot.saturating_sub(newest).min(RING as u64);
        for back in 0..begun {
            self.expire(&self.deposits, (slot - back).wrapping_sub(SLOTS));
        }
        let earlier = self.place(&self.withdrawals, slot);
        let won = self
            .newest
            .compare_exchange(newest, slot, AcqRel, Relaxed)
            .is_ok();
        if !won {
            return slot;
        }
        for back in 0..begun {
            let expired = (slot - back).wrapping_sub(SLOTS + 1);
            if expired as usize % RING == slot as usize % RING {
                // A round ago it was this slot's place, in which others count by now.
                add(&self.withdrawals, slot, -earlier);
                self.balance.fetch_sub(earlier, Relaxed);
            } else {
                self.expire(&self.withdrawals, expired);
            }
        }
        slot
    }

    fn place(&self, slots: &[AtomicI64; RING], slot: u64) -> i64 {
        slots
            .get(slot as usize % RING)
            .map_or(0, |place| place.load(Relaxed))
    }

    fn expire(&self, slots: &[AtomicI64; RING], slot: u64) {
        if let Some(place) = slots.get(slot as usize % RING) {
            self.balance.fetch_sub(place.swap(0, Relaxed), Relaxed);
        }
    }

    fn clear_all(&self) {
        for place in 0..RING as u64 {
            self.expire(&self.deposits, place);
            self.expire(&self.withdrawals, place);
        }
    }
}

#[cfg(all(test, loom))]
impl Budget {
    pub(crate) fn tokens(&self) -> i64 {
        self.balance.load(Relaxed)
    }

    pub(crate) fn sum_of_slots(&self) -> i64 {
        let slots = self.deposits.iter().chain(&self.withdrawals);
        slots.map(|slot| slot.load(Relaxed)).sum()
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(&BudgetPolicy::default())
    }
}

fn add(slots: &[AtomicI64; RING], slot: u64, tokens: i64) {
    if let Some(place) = slots.get(slot as usize % RING) {
        place.fetch_add(tokens, Relaxed);
    }
}
