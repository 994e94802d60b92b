//! The decisions of a call, each alone and repeated, for a count of their instructions: `benches/decisions`.
//!
//! ```sh
//! decisions --list          # the names
//! decisions NAME ROUNDS     # sets NAME up and runs it ROUNDS times within `counted`
//! ```

use std::process::ExitCode;

use mesh_benches::admission::{Entering, Hedging, Metering, Ranking, Throttling};
use mesh_benches::decisions::{Breaking, Budgeting, Ejecting, Matching, Picking};
use mesh_core::balance::Place;
use mesh_core::policy::BalancePolicy;

type Run = Box<dyn FnMut() -> bool>;

/// A name, and what sets it up: only what is asked for.
type Case = (String, Box<dyn Fn() -> Run>);

fn case<R: FnMut() -> bool + 'static>(name: &str, set_up: impl Fn() -> R + 'static) -> Case {
    (name.to_owned(), Box::new(move || Box::new(set_up())))
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, algorithm) in Picking::ALGORITHMS {
        for endpoints in [10, 1_000] {
            let policy = BalancePolicy::default().with_algorithm(algorithm);
            let name = format!("pick, {name}, {endpoints} endpoints");
            cases.push(case(&name, move || {
                picks(endpoints, &policy, &Place::default())
            }));
        }
    }
    for endpoints in [10, 1_000] {
        let policy = BalancePolicy::default().with_bounded_load_percent(150);
        let name = format!("pick, bounded load, {endpoints} endpoints");
        cases.push(case(&name, move || {
            picks(endpoints, &policy, &Place::default())
        }));
        let name = format!("pick, from a zone of three, {endpoints} endpoints");
        cases.push(case(&name, move || {
            let place = Place {
                zone: Some("a".into()),
                ..Place::default()
            };
            picks(endpoints, &BalancePolicy::default(), &place)
        }));
    }
    cases.push(case("pick, aperture, 1000 endpoints", || {
        let place = Place {
            peer: Some((3, 40)),
            ..Place::default()
        };
        picks(1_000, &BalancePolicy::default(), &place)
    }));
    cases.push(case("budget, 5 deposits and a withdrawal", || {
        let mut budgeting = Budgeting::new();
        move || budgeting.run()
    }));
    cases.push(case("ejection, record", || {
        let mut ejecting = Ejecting::new();
        move || ejecting.run()
    }));
    cases.push(case("breaker, admit and record", || {
        let mut breaking = Breaking::new();
        move || breaking.run()
    }));
    for routes in [1, 1_000] {
        let name = format!("route match, {routes} routes");
        cases.push(case(&name, move || {
            let matching = Matching::new(routes);
            move || matching.run()
        }));
    }
    cases.push(case("throttle, admit", || {
        let mut throttling = Throttling::new();
        move || throttling.run()
    }));
    cases.push(case("rate limit, check", || {
        let mut metering = Metering::new();
        move || metering.run()
    }));
    cases.push(case("limiter, admit and record", || {
        let mut entering = Entering::new();
        move || entering.run()
    }));
    cases.push(case("hedge, delay and record", || {
        let mut hedging = Hedging::new();
        move || hedging.run()
    }));
    cases.push(case("criticality and ceiling", || {
        let ranking = Ranking::new();
        move || ranking.run()
    }));
    cases
}

fn picks(endpoints: u16, policy: &BalancePolicy, place: &Place) -> impl FnMut() -> bool + use<> {
    let mut picking = Picking::by(endpoints, policy, place);
    move || picking.run().is_some()
}

/// What is counted: valgrind is told this name.
#[inline(never)]
fn counted(run: &mut Run, rounds: usize) -> usize {
    (0..rounds).filter(|_| run()).count()
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let cases = cases();
    if args.iter().any(|arg| arg == "--list") {
        cases.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    let rounds = args.get(1).and_then(|rounds| rounds.parse().ok());
    let asked = args.first().and_then(|asked| {
        let (_, set_up) = cases.iter().find(|(name, _)| name == asked)?;
        Some(set_up())
    });
    let (Some(mut run), Some(rounds)) = (asked, rounds) else {
        eprintln!("decisions --list | NAME ROUNDS");
        return ExitCode::FAILURE;
    };
    // What happens once, before it is counted.
    (0..100).for_each(|_| {
        std::hint::black_box(run());
    });
    std::hint::black_box(counted(&mut run, rounds));
    ExitCode::SUCCESS
}
