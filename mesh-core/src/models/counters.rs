use std::sync::Arc;
use std::time::Duration;

use super::{beside, every_order, join, orders};
use crate::balance::{EndpointInfo, EndpointSet};
use crate::ceiling::Ceiling;
use crate::ratelimit::{Cell, Rate};

#[test]
fn a_ceiling_is_never_exceeded_and_every_permit_comes_back() {
    every_order("ceiling", |_| {
        let ceiling = Arc::new(Ceiling::new(1));
        let take = |ceiling: &Arc<Ceiling>| {
            let permit = ceiling.try_acquire();
            assert!(ceiling.used() <= 1, "above the limit");
            permit.is_some()
        };
        let other = beside(&ceiling, take);
        let mine = take(&ceiling);
        assert!(join(other) || mine, "both were refused");
        assert_eq!(ceiling.used(), 0);
    });
}

#[test]
fn a_held_permit_is_one_of_three_threads() {
    every_order("ceiling, held", |_| {
        let ceiling = Arc::new(Ceiling::new(1));
        let others = [0, 1].map(|_| beside(&ceiling, |ceiling| ceiling.try_acquire()));
        let mine = ceiling.try_acquire();
        let held: Vec<_> = others.into_iter().map(join).chain([mine]).collect();
        assert_eq!(held.iter().flatten().count(), 1);
        drop(held);
        assert_eq!(ceiling.used(), 0);
    });
}

#[test]
fn calls_in_flight_come_back_to_zero_while_counting_is_turned_on() {
    orders(3, "in flight", |_| {
        let info = EndpointInfo::new(([10, 0, 0, 1], 80).into());
        let set = Arc::new(EndpointSet::new([info]));
        let call = |set: &Arc<EndpointSet>| {
            let in_flight = set.endpoints()[0].begin();
            assert!(set.endpoints()[0].in_flight() > 0);
            drop(in_flight);
        };
        let threads = [
            beside(&set, call),
            beside(&set, |set| set.count_in_flight(true)),
        ];
        call(&set);
        threads.into_iter().for_each(join);
        assert_eq!(set.endpoints()[0].in_flight(), 0);
        assert_eq!(set.in_flight(), 0, "of the whole set");
    });
}

#[test]
fn a_burst_of_one_is_one_call() {
    every_order("gcra", |now| {
        let cell = Arc::new(Cell::default());
        let take = move |cell: &Arc<Cell>| {
            let rate = Rate::new(1, Duration::from_secs(1), 1);
            usize::from(cell.take(rate, now, 100).is_ok())
        };
        let others = [beside(&cell, take), beside(&cell, take)];
        let passed = take(&cell) + others.into_iter().map(join).sum::<usize>();
        assert_eq!(passed, 1);
    });
}
