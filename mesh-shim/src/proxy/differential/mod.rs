//! The shim decides as the library does: a recorded trace of calls, faults and changes of policy runs
//! through both, on paused time and with the same random numbers, and every call must come to the same
//! end, at the same moment, by the same endpoints.

mod trace;
mod world;

use std::collections::BTreeMap;

use self::trace::Trace;
use self::world::{Record, Way};

/// Runs the trace in a thread of its own: random numbers are the thread's.
fn run(way: Way) -> Record {
    let run = move || {
        fastrand::seed(7);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(world::play(&Trace::mixed(), way))
    };
    std::thread::spawn(run).join().unwrap()
}

#[test]
#[allow(clippy::print_stdout, reason = "figures")]
fn a_recorded_trace_has_the_same_decisions_in_the_library_and_in_the_shim() {
    let library = run(Way::Library);
    let shim = run(Way::Shim);
    assert_eq!(library.calls.len(), Trace::mixed().calls());
    for (n, (one, other)) in library.calls.iter().zip(&shim.calls).enumerate() {
        assert_eq!(one, other, "call {n}: the library, then the shim");
    }
    for (name, seen) in &library.endpoints {
        let there = &shim.endpoints[name];
        for (n, (one, other)) in seen.iter().zip(there).enumerate() {
            assert_eq!(
                one, other,
                "request {n} at {name}: the library, then the shim"
            );
        }
        assert_eq!(seen.len(), there.len(), "requests at {name}");
    }
    assert_eq!(library.decisions, shim.decisions);
    let mut ends = BTreeMap::<_, usize>::new();
    for call in &library.calls {
        *ends.entry(call.end.as_str()).or_default() += 1;
    }
    let requests: usize = library.endpoints.values().map(Vec::len).sum();
    println!(
        "{} calls, {requests} requests at endpoints, 0 different; ends {ends:?}; counted {:?}",
        library.calls.len(),
        library.decisions,
    );
    // A trace in which nothing happens would find nothing.
    assert!(ends.len() >= 12 && requests > 1_000);
    assert!(library.decisions.len() >= 12, "{:?}", library.decisions);
}
