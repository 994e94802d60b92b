//! The decisions of a call and of its attempts allocate nothing, by a counting allocator.

use mesh_benches::admission::{Entering, Hedging, Metering, Ranking, Throttling};
use mesh_benches::decisions::{Breaking, Budgeting, Ejecting, Matching, Picking};
use mesh_core::balance::Place;
use mesh_core::policy::BalancePolicy;

use counting::allocations;

/// The one place with `unsafe` in the workspace.
///
/// Proof: every method hands its arguments unchanged to [`std::alloc::System`], which upholds the contract of
/// `GlobalAlloc`; the counter is a thread-local `Cell` that needs no drop and no allocation, so counting cannot recurse.
mod counting {
    #![allow(unsafe_code)]

    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;

    thread_local! {
        static COUNT: Cell<u64> = const { Cell::new(0) };
    }

    struct Counting;

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    fn count() {
        // A thread that is being torn down has no counter any more, and nobody who asks.
        let _ = COUNT.try_with(|n| n.set(n.get() + 1));
    }

    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            count();
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            unsafe { System.dealloc(pointer, layout) }
        }

        unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            count();
            unsafe { System.realloc(pointer, layout, size) }
        }
    }

    /// How often this thread allocates while `work` runs.
    pub(super) fn allocations(work: impl FnOnce()) -> u64 {
        let before = COUNT.get();
        work();
        COUNT.get() - before
    }
}

const ROUNDS: usize = 10_000;

#[test]
fn the_counter_counts() {
    let count = allocations(|| drop(std::hint::black_box(Box::new(7))));
    assert_eq!(count, 1);
}

#[test]
fn a_pick_allocates_nothing() {
    for endpoints in [1, 3, 1_000] {
        let mut picking = Picking::new(endpoints);
        let count = allocations(|| (0..ROUNDS).for_each(|_| assert!(picking.run().is_some())));
        assert_eq!(count, 0, "{endpoints} endpoints");
    }
}

#[test]
fn a_pick_by_any_algorithm_allocates_nothing() {
    for (name, algorithm) in Picking::ALGORITHMS {
        for endpoints in [3, 1_000] {
            for bounded in [0, 150] {
                let policy = BalancePolicy::default()
                    .with_algorithm(algorithm)
                    .with_bounded_load_percent(bounded);
                let mut picking = Picking::by(endpoints, &policy, &Place::default());
                let count =
                    allocations(|| (0..ROUNDS).for_each(|_| assert!(picking.run().is_some())));
                assert_eq!(count, 0, "{name}, {endpoints} endpoints");
            }
        }
    }
}

#[test]
fn a_pick_from_a_zone_or_by_an_arc_allocates_nothing() {
    let peer = Place {
        zone: Some("a".into()),
        peer: Some((3, 40)),
        ..Place::default()
    };
    for endpoints in [9, 1_000] {
        let mut picking = Picking::by(endpoints, &BalancePolicy::default(), &peer);
        let count = allocations(|| (0..ROUNDS).for_each(|_| assert!(picking.run().is_some())));
        assert_eq!(count, 0, "{endpoints} endpoints");
    }
}

#[test]
fn the_budget_allocates_nothing() {
    let mut budgeting = Budgeting::new();
    let mut retries = 0;
    let count = allocations(|| retries = (0..ROUNDS).filter(|_| budgeting.run()).count());
    assert_eq!(count, 0);
    assert!(
        retries > ROUNDS / 2,
        "20 % of the calls are withdrawn: {retries}"
    );
}

#[test]
fn an_ejection_record_allocates_nothing() {
    let mut ejecting = Ejecting::new();
    let mut changes = 0;
    let count = allocations(|| changes = (0..ROUNDS).filter(|_| ejecting.run()).count());
    assert_eq!(count, 0);
    assert!(
        changes > 0,
        "the failing endpoint is ejected within the run"
    );
}

#[test]
fn a_breaker_allocates_nothing_in_any_phase() {
    let mut breaking = Breaking::new();
    let mut passed = 0;
    let count = allocations(|| passed = (0..ROUNDS).filter(|_| breaking.run()).count());
    assert_eq!(count, 0);
    assert!(
        (ROUNDS / 2..ROUNDS).contains(&passed),
        "it opens within the run, and closes again: {passed}"
    );
}

/// Of `run`, over all rounds: no allocation, and as many passed as were to be expected.
fn admits(name: &str, expected: std::ops::RangeInclusive<usize>, mut run: impl FnMut() -> bool) {
    let mut passed = 0;
    let count = allocations(|| passed = (0..ROUNDS).filter(|_| run()).count());
    println!("{name}: {count} allocations, {passed} of {ROUNDS} passed");
    assert_eq!(count, 0, "{name}");
    assert!(expected.contains(&passed), "{name}: {passed} passed");
}

#[test]
fn admission_allocates_nothing() {
    let mut hedging = Hedging::new();
    admits("hedge delay", ROUNDS..=ROUNDS, || hedging.run());
    // Whatever little passes, three of four are refused: down to the tenth that always passes.
    let mut throttling = Throttling::new();
    admits("throttle", ROUNDS * 8 / 100..=ROUNDS * 14 / 100, || {
        throttling.run()
    });
    let mut metering = Metering::new();
    admits("rate limit", ROUNDS..=ROUNDS, || metering.run());
    let mut entering = Entering::new();
    admits("limiter", ROUNDS..=ROUNDS, || entering.run());
    let ranking = Ranking::new();
    admits("criticality and ceiling", ROUNDS..=ROUNDS, || ranking.run());
}

#[test]
fn a_pick_with_every_feature_allocates_nothing() {
    // A zone of its own, an arc of the ring, bounded load and subsetting all at once, for each algorithm.
    let place = Place {
        zone: Some("a".into()),
        peer: Some((3, 40)),
        ..Place::default()
    };
    for (name, algorithm) in Picking::ALGORITHMS {
        let policy = BalancePolicy::default()
            .with_algorithm(algorithm)
            .with_bounded_load_percent(150);
        let mut picking = Picking::by(300, &policy, &place);
        admits(name, ROUNDS..=ROUNDS, || picking.run().is_some());
    }
}

#[test]
fn a_route_match_allocates_nothing() {
    for routes in [2, 1_000] {
        let matching = Matching::new(routes);
        let count = allocations(|| (0..ROUNDS).for_each(|_| assert!(matching.run())));
        assert_eq!(count, 0, "{routes} routes");
    }
}
