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
fn a_refused_host_is_seen_as_unreachable_and_comes_back() {
    let outcome = Scenario::new("down")
        .lasting(20 * S)
        // By turns: the latency balancer might never come to that host.
        .policy("service: shop/reviews\nbackend: { loadBalancing: { algorithm: RoundRobin } }")
        .service(Service::new("shop/reviews", 3))
        .load(Load::new("shop/reviews", 50.0))
        .at(2 * S, Change::behave("reviews#1", Behaviour::down()))
        .at(8 * S, Change::heal("reviews#1"))
        .run()
        .unwrap();
    assert_eq!(outcome.success(..), 1.0, "{}", outcome.log());
    assert!(outcome.turns("reviews#1").count() >= 2, "{}", outcome.log());
    assert_eq!(outcome.arrivals("reviews#1", 3 * S..8 * S).count(), 0);
}

#[test]
fn mistakes_are_told_with_their_place() {
    let wrong = |text: &str| Scenario::from_yaml(text).unwrap_err().to_string();
    let unknown = wrong("name: x\nservices: {}\nload: []\nevnts: []\n");
    assert!(unknown.contains("evnts"), "{unknown}");
    assert!(unknown.contains("line 4"), "{unknown}");
    let latency =
        "name: x\nservices: { a/b: { endpoints: 1, latency: { median: 1ms } } }\nload: []\n";
    assert!(wrong(latency).starts_with("services.a/b.latency: "));
    let scenario = flaky(1).policy("service: shop/reviews\nroute: [{ tiemout: 1s }]");
    let error = scenario.run().unwrap_err().to_string();
    assert!(
        error.contains("M3002") && error.contains("policy:2"),
        "{error}"
    );
    let scenario = flaky(1).at(S, Change::heal("nobody"));
    assert!(scenario.run().unwrap_err().to_string().contains("nobody"));
}
