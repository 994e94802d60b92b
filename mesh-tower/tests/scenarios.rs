//! Every scenario beside the simulator's example holds, and says its figures.

#![allow(clippy::print_stdout, reason = "the figures are what the tests show")]

use std::path::Path;

use mesh_tower::testkit::sim::Scenario;

fn holds(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/scenarios");
    let text = std::fs::read_to_string(path.join(format!("{name}.yaml"))).unwrap();
    let outcome = Scenario::from_yaml(&text)
        .unwrap_or_else(|error| panic!("{name}: {error}"))
        .run()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    println!("{}", outcome.summary());
    assert!(outcome.failed().is_empty(), "{}", outcome.summary());
}

macro_rules! scenarios {
    ($( $test:ident = $file:literal; )*) => {
        $( #[test] fn $test() { holds($file); } )*

        #[test]
        fn no_scenario_is_left_out() {
            let listed = [$($file),*];
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/scenarios");
            for entry in std::fs::read_dir(path).unwrap() {
                let path = entry.unwrap().path();
                let stem = path.file_stem().unwrap().to_str().unwrap();
                assert!(listed.contains(&stem), "{stem} is not in this list");
            }
        }
    };
}

scenarios! {
    a_burst_of_errors_from_all_does_not_empty_the_pool = "all-fail";
    an_ejected_endpoint_returns_by_a_probe = "ejected-returns";
    an_ejected_endpoint_returns_by_an_active_check = "ejected-checked";
    an_endpoint_that_fails_fast_is_not_preferred = "fast-failing";
    retries_at_four_hops_do_not_multiply = "four-hops";
    a_slow_endpoint_is_left_alone = "one-slow";
    twice_the_capacity_is_served_as_fast_as_before = "overload";
    at_ten_times_the_capacity_what_is_critical_succeeds = "overload-critical";
    refused_connections_beat_discovery = "stale-discovery";
    an_endpoint_slow_against_its_peers_is_ejected = "slow-ejected";
    what_never_answers_is_ejected_as_a_local_failure = "local-origin";
    a_throttle_holds_back_what_would_be_refused = "throttle";
    a_hedge_cuts_the_tail_for_a_twentieth_more = "hedging";
    no_call_is_lost_once_one_live_address_is_known = "all-replaced";
}
