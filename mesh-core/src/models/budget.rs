use std::sync::Arc;
use std::time::Duration;

use super::{SECOND, beside, every_order, join, orders};
use crate::policy::BudgetPolicy;
use crate::retry::Budget;

/// In each window of a second: one retry, and one for each `percent` / 100 of a call.
fn budget(percent: u32) -> Arc<Budget> {
    let policy = BudgetPolicy::default()
        .with_percent(percent)
        .with_interval(SECOND)
        .with_min_per_second(1);
    Arc::new(Budget::new(&policy))
}

#[test]
fn the_last_retry_is_paid_once() {
    every_order("budget, last retry", |now| {
        let budget = budget(0);
        budget.deposit(now);
        let withdraw = move |budget: &Arc<Budget>| usize::from(budget.withdraw(now));
        let others = [beside(&budget, withdraw), beside(&budget, withdraw)];
        let paid = withdraw(&budget) + others.into_iter().map(join).sum::<usize>();
        assert_eq!(paid, 1);
        assert_eq!(budget.sum_of_slots(), budget.tokens());
    });
}

#[test]
fn after_a_pause_what_was_withdrawn_stays_withdrawn() {
    orders(2, "budget, after a pause", |now| {
        let budget = budget(100);
        budget.deposit(now);
        // The deposit has left the window; the one retry that is always there is left.
        let now = now + 5 * SECOND;
        let withdraw = move |budget: &Arc<Budget>| usize::from(budget.withdraw(now));
        let other = beside(&budget, withdraw);
        let paid = withdraw(&budget) + join(other) + withdraw(&budget);
        assert_eq!(paid, 1);
        assert_eq!(budget.sum_of_slots(), budget.tokens());
    });
}

#[test]
fn after_a_pause_of_a_round_of_the_ring_too() {
    orders(2, "budget, after a round", |now| {
        let budget = budget(0);
        let early = budget.withdraw(now);
        // Sixteen slots of 100 ms later the new slot has the place of the old one.
        let now = now + Duration::from_millis(1_600);
        let withdraw = move |budget: &Arc<Budget>| usize::from(budget.withdraw(now));
        let other = beside(&budget, withdraw);
        let paid = withdraw(&budget) + join(other) + withdraw(&budget);
        assert!(early && paid == 1, "{paid} paid");
        assert_eq!(budget.sum_of_slots(), budget.tokens());
    });
}

#[test]
fn a_new_slot_loses_no_token_and_makes_none() {
    orders(2, "budget, new slot", |now| {
        let budget = budget(50);
        budget.deposit(now);
        // The slot of the deposit expires as this one begins.
        let now = now + SECOND;
        let other = beside(&budget, move |budget| {
            budget.deposit(now);
            budget.withdraw(now)
        });
        budget.deposit(now);
        let mine = budget.withdraw(now);
        // One that is always there, one of two calls; the expired call pays for nothing.
        let paid = usize::from(mine) + usize::from(join(other));
        assert!(paid <= 2, "{paid} paid");
        assert!(!(paid == 2 && budget.withdraw(now)), "a third");
        assert_eq!(budget.sum_of_slots(), budget.tokens());
    });
}
