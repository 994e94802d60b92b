#![allow(clippy::print_stdout, reason = "the messages are what the tests show")]

use std::time::Duration;

use super::*;

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);

fn flaky(seed: u64) -> Scenario {
    let usual = Behaviour::default().taking(Latency::log_normal(4 * MS, 20 * MS));
    Scenario::new("one of three fails")
        .seed(seed)
        .lasting(6 * S)
        .policy("service: shop/reviews\nroute: [{ retry: { attempts: 2, codes: [503] } }]")
        .service(Service::new("shop/reviews", 3).behaving(usual))
        .load(Load::new("shop/reviews", 100.0).arriving(Arrivals::Random))
        .at(S, Change::behave("reviews#0", Behaviour::failing(503, 0.5)))
        .at(4 * S, Change::heal("reviews#0"))
}

#[test]
fn a_seed_gives_the_same_log_byte_for_byte() {
    let first = flaky(3).run().unwrap();
    let again = flaky(3).run().unwrap();
    assert!(first.calls.len() > 400, "{}", first.summary());
    assert_eq!(first.log(), again.log());
    let other = flaky(4).run().unwrap();
    assert_ne!(first.log(), other.log());
}

#[test]
fn time_is_virtual() {
    let outcome = Scenario::new("slow")
        .lasting(60 * S)
        .policy("service: shop/reviews\nroute: [{ timeout: 1h }]")
        .service(
            Service::new("shop/reviews", 1)
                .behaving(Behaviour::default().taking(Latency::fixed(50 * S))),
        )
        .load(Load::new("shop/reviews", 0.1))
        .run()
        .unwrap();
    assert_eq!(outcome.calls.len(), 6);
    for call in outcome.calls(..) {
        assert!((50 * S..51 * S).contains(&call.took), "{call:?}");
    }
}

#[test]
fn a_host_works_on_as_much_as_it_has_capacity_for() {
    // 10 at a time, 100 ms each: 100 a second, whatever comes.
    let host = Behaviour::default()
        .taking(Latency::fixed(100 * MS))
        .holding(10, 1_000);
    let outcome = Scenario::new("full")
        .lasting(5 * S)
        .policy("service: shop/reviews\nroute: [{ timeout: 1m }]")
        .service(Service::new("shop/reviews", 1).behaving(host))
        .load(Load::new("shop/reviews", 200.0))
        .run()
        .unwrap();
    let ended = outcome
        .calls(..)
        .filter(|call| call.at + call.took <= 5 * S)
        .count();
    assert!((470..=510).contains(&ended), "{ended}");
}

#[test]
fn what_is_called_in_turn_fails_with_it() {
    let outcome = Scenario::new("chain")
        .lasting(2 * S)
        .service(Service::new("shop/front", 1).calling("shop/back"))
        .service(Service::new("shop/back", 1))
        .load(Load::new("shop/front", 20.0))
        .at(S, Change::behave("back", Behaviour::failing(500, 1.0)))
        .run()
        .unwrap();
    assert_eq!(outcome.success(..S), 1.0, "{}", outcome.log());
    assert_eq!(outcome.success(S..), 0.0);
    assert_eq!(outcome.arrivals("back", ..S).count(), 20);
}

#[test]
fn a_refused_host_is_left_alone_and_comes_back() {
    // Slower than what is assumed of a host that nobody has called: all three are.
    let slow = Behaviour::default().taking(Latency::fixed(40 * MS));
    let outcome = Scenario::new("down")
        .lasting(90 * S)
        // What breaks in the middle may have been processed: only a policy repeats it.
        .policy("service: shop/reviews\nroute: [{ retry: { attempts: 2, codes: [503] } }]")
        .service(Service::new("shop/reviews", 3).behaving(slow))
        .load(Load::new("shop/reviews", 50.0))
        .at(2 * S, Change::behave("reviews#1", Behaviour::down()))
        .at(8 * S, Change::heal("reviews#1"))
        .run()
        .unwrap();
    assert_eq!(outcome.success(..), 1.0, "{}", outcome.log());
    assert_eq!(outcome.arrivals("reviews#1", 3 * S..8 * S).count(), 0);
    let back = outcome.share("reviews#1", 80 * S..);
    assert!(back > 0.2, "{back}");
}

#[test]
fn mistakes_are_told_with_line_and_column_and_what_to_do() {
    let good = "name: x
services:
  shop/reviews: { endpoints: 2, latency: { fixed: 1ms } }
load:
- { to: shop/reviews, rate: 1 }
events:
- { at: 1s, host: reviews#0, heal: true }
expect:
- { what: success, atLeast: 1 }
";
    Scenario::from_yaml(good).unwrap();
    for (from, to, at, next) in [
        ("events:", "evnts:", "evnts", "did you mean `events`?"),
        ("rate: 1", "rte: 1", "rte", "did you mean `rate`?"),
        ("1ms", "1", "1 }", "5s, 250ms"),
        ("at: 1s", "at: 1 second", "1 second", "5s, 250ms"),
        (
            "fixed: 1ms",
            "median: 1ms",
            "{ median",
            "`median` and `p99`",
        ),
        (
            "endpoints: 2",
            "endpoints: 0",
            "0, latency",
            "1 to 10000, not 0",
        ),
        ("to: shop", "to: shp", "shp", "did you mean `shop/reviews`?"),
        (
            "to: shop/reviews",
            "to: a/b",
            "a/b",
            "services: shop/reviews",
        ),
        (
            "reviews#0",
            "reviews#2",
            "reviews#2",
            "did you mean `reviews#",
        ),
        (", atLeast: 1", "", "{ what", "`atLeast` or `atMost`"),
        ("success", "succes", "succes", "did you mean `success`?"),
        ("success", "share", "{ what", "`of: reviews#0`"),
        ("heal: true", "fail: { percent: 101 }", "101", "0 to 100"),
    ] {
        let text = good.replace(from, to);
        let error = Scenario::from_yaml(&text).unwrap_err().to_string();
        println!("{error}\n");
        let lines = text.lines().zip(1..);
        let (line, column) = lines
            .filter_map(|(line, number)| Some((number, line.find(at)? + 1)))
            .next()
            .unwrap();
        let place = format!("--> line {line}, column {column}");
        assert!(error.contains(&place), "{place}: {error}");
        assert!(error.contains(next), "{next}: {error}");
    }
    let text = good.replace("name: x", "name: x\npolicy: '{ service: a/b, rout: [] }'");
    let error = Scenario::from_yaml(&text).unwrap_err().to_string();
    assert!(error.contains("did you mean `route`?"), "{error}");
    assert!(error.contains("--> line 2, column 9 (policy)"), "{error}");
    let scenario = flaky(1).policy("service: shop/reviews\nroute: [{ tiemout: 1s }]");
    let error = scenario.run().unwrap_err().to_string();
    assert!(
        error.contains("M3002") && error.contains("policy:2"),
        "{error}"
    );
    let scenario = flaky(1).at(S, Change::heal("nobody"));
    assert!(scenario.run().unwrap_err().to_string().contains("nobody"));
}

#[test]
fn callers_know_their_zone_and_their_place() {
    // As many callers as hosts in each zone: calls stay at home, and cross no zone.
    let outcome = Scenario::new("zones")
        .lasting(5 * S)
        .service(Service::new("shop/reviews", 6).in_zones(&["a", "b"]))
        .load(Load::new("shop/reviews", 100.0).in_zone("a"))
        .load(Load::new("shop/reviews", 100.0).in_zone("b"))
        .across_zones(50 * MS)
        .run()
        .unwrap();
    let worst = outcome.latency(1.0, ..);
    assert!(worst < 20 * MS, "{worst:?}");
}
