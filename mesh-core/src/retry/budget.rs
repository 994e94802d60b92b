use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use super::BudgetPolicy;
use crate::clock;

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
        let newest = self.newest.load(Relaxed);
        if slot <= newest {
            // The usual case; also a thread whose `now` is a little older.
            return newest;
        }
        let won = self
            .newest
            .compare_exchange(newest, slot, Relaxed, Relaxed)
            .is_ok();
        if !won {
            // Someone else clears; at worst this call still counts what is about to expire.
            return slot;
        }
        if slot - newest > SLOTS {
            self.clear_all();
            return slot;
        }
        for begun in newest + 1..=slot {
            self.expire(&self.deposits, begun.wrapping_sub(SLOTS));
            self.expire(&self.withdrawals, begun.wrapping_sub(SLOTS + 1));
        }
        slot
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
