use std::sync::Arc;
use std::time::Instant;

use super::{beside, join, orders};
use crate::context::Criticality::Critical;
use crate::overload::{Entry, Gate, Wake};
use crate::policy::ConcurrencyAlgorithm::Fixed;
use crate::policy::{ConcurrencyPolicy, QueuePolicy};

/// One place, and a queue of two.
fn gate() -> Arc<Gate<u32>> {
    let concurrency = ConcurrencyPolicy::default()
        .with_algorithm(Fixed)
        .with_initial(1);
    Arc::new(Gate::new(
        &concurrency,
        &QueuePolicy::default().with_size(2),
    ))
}

/// What an owner does after everything that says that somebody may wait: a call that is let in ends
/// at once.
fn tell(gate: &Gate<u32>, now: Instant) -> usize {
    let mut served = 0;
    while let Some(wake) = gate.next(now) {
        if let Wake::Admit(_, slot) = wake {
            served += 1;
            assert_eq!(gate.in_work(), 1);
            gate.leave(slot);
        }
    }
    served
}

fn call(now: Instant) -> impl FnOnce(&Arc<Gate<u32>>) -> usize + Copy {
    move |gate| match gate.enter(now, Critical, || 7) {
        Entry::Admitted(slot) => match gate.leave(slot) {
            true => 1 + tell(gate, now),
            false => 1,
        },
        Entry::Waits(_) => tell(gate, now),
        Entry::Refused(why) => panic!("{why:?}"),
    }
}

#[test]
fn nobody_waits_before_a_free_place() {
    orders(3, "gate", |now| {
        let gate = gate();
        let other = beside(&gate, call(now));
        let served = call(now)(&gate) + join(other);
        assert_eq!((gate.waiting(), gate.in_work()), (0, 0), "forgotten");
        assert_eq!(served, 2);
    });
}
