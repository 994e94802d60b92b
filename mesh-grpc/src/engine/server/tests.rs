//! Each rule of the protocol, one test each.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    engine::{Limits, Version, Violation, WILDCARD},
    pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node, Status},
};

const ENDPOINTS: &str = "test/Endpoints";
const POLICY: &str = "test/Policy";

fn engine() -> Engine {
    Engine::new(Config {
        order: vec![ENDPOINTS.into(), POLICY.into()],
        ..Config::default()
    })
}

fn put(engine: &mut Engine, type_url: &str, name: &str, content: &str) -> bool {
    engine.update(type_url, name, Some(content.to_owned().into()))
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn subscribe(type_url: &str, subscribed: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: type_url.into(),
        resource_names_subscribe: names(subscribed),
        ..Default::default()
    }
}

fn unsubscribe(type_url: &str, unsubscribed: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: type_url.into(),
        resource_names_unsubscribe: names(unsubscribed),
        ..Default::default()
    }
}

fn ack(response: &DeltaDiscoveryResponse) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: response.type_url.clone(),
        response_nonce: response.nonce.clone(),
        ..Default::default()
    }
}

fn nack(response: &DeltaDiscoveryResponse, why: &str) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        error_detail: Some(Status {
            code: 3,
            message: why.into(),
            details: Vec::new(),
        }),
        ..ack(response)
    }
}

fn told(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    response
        .resources
        .iter()
        .map(|resource| resource.name.as_str())
        .collect()
}

/// Hands in a request and takes out the only response.
#[track_caller]
fn ask(
    engine: &mut Engine,
    id: ConnectionId,
    request: &DeltaDiscoveryRequest,
) -> DeltaDiscoveryResponse {
    engine.on_request(id, request).expect("a good request");
    let response = engine.poll(id).expect("a response");
    assert_eq!(engine.poll(id), None, "one response");
    response
}

#[track_caller]
fn silent(engine: &mut Engine, id: ConnectionId, request: &DeltaDiscoveryRequest) {
    engine.on_request(id, request).expect("a good request");
    assert_eq!(engine.poll(id), None);
}

#[test]
fn a_subscription_is_answered_with_content_and_a_content_hash() {
    let mut engine = engine();
    put(&mut engine, POLICY, "a", "1");
    let id = engine.connect();
    let response = ask(&mut engine, id, &subscribe(POLICY, &["a"]));
    assert_eq!(response.type_url, POLICY);
    assert_eq!(response.resources[0].version, Version::of(b"1").to_string());
    assert_eq!(response.resources[0].resource.as_ref().unwrap().value, b"1");
    silent(&mut engine, id, &ack(&response));
}

#[test]
fn an_unknown_name_is_answered_by_removal_at_once_and_by_content_later() {
    let mut engine = engine();
    let id = engine.connect();
    let response = ask(&mut engine, id, &subscribe(POLICY, &["nowhere"]));
    assert_eq!(
        (told(&response), &*response.removed_resources),
        (vec![], &["nowhere".to_owned()][..])
    );
    silent(&mut engine, id, &ack(&response));
    put(&mut engine, POLICY, "nowhere", "1");
    assert_eq!(told(&engine.poll(id).unwrap()), ["nowhere"]);
}

#[test]
fn an_answer_about_an_unknown_name_does_not_wait_for_other_types() {
    let mut engine = engine();
    put(&mut engine, ENDPOINTS, "a", "1");
    let id = engine.connect();
    ask(&mut engine, id, &subscribe(ENDPOINTS, &["a"])); // Never acknowledged.
    put(&mut engine, ENDPOINTS, "a", "2");
    let response = ask(&mut engine, id, &subscribe(POLICY, &["nowhere"]));
    assert_eq!(response.removed_resources, ["nowhere"]);
}

#[test]
fn a_change_wakes_only_its_subscribers() {
    let mut engine = engine();
    let (a, b, all) = (engine.connect(), engine.connect(), engine.connect());
    engine.on_request(a, &subscribe(POLICY, &["a"])).unwrap();
    engine.on_request(b, &subscribe(POLICY, &["b"])).unwrap();
    engine
        .on_request(all, &subscribe(POLICY, &[WILDCARD]))
        .unwrap();
    assert!(put(&mut engine, POLICY, "a", "1"));
    assert_eq!(engine.take_woken(), BTreeSet::from([a, all]));
    assert!(!put(&mut engine, POLICY, "a", "1"), "no difference");
    assert!(engine.take_woken().is_empty());
}

#[test]
fn one_response_of_a_type_is_under_way_and_the_latest_content_follows_its_ack() {
    let mut engine = engine();
    put(&mut engine, POLICY, "a", "1");
    let id = engine.connect();
    let first = ask(&mut engine, id, &subscribe(POLICY, &["a"]));
    put(&mut engine, POLICY, "a", "2");
    put(&mut engine, POLICY, "a", "3");
    assert_eq!(engine.poll(id), None);
    let second = ask(&mut engine, id, &ack(&first));
    assert_eq!(second.resources[0].version, Version::of(b"3").to_string());
}

#[test]
fn a_change_back_to_what_is_held_says_nothing() {
    let mut engine = engine();
    put(&mut engine, POLICY, "a", "1");
    let id = engine.connect();
    let first = ask(&mut engine, id, &subscribe(POLICY, &["a"]));
    put(&mut engine, POLICY, "a", "2");
    put(&mut engine, POLICY, "a", "1");
    silent(&mut engine, id, &ack(&first));
}

#[test]
fn silence_after_a_nack_until_the_configuration_changes() {
    let mut engine = engine();
    put(&mut engine, POLICY, "a", "bad");
    let id = engine.connect();
    let response = ask(&mut engine, id, &subscribe(POLICY, &["a"]));
    silent(&mut engine, id, &nack(&response, "spec.rules[0]: no"));
    put(&mut engine, POLICY, "other", "1");
    assert_eq!(engine.poll(id), None, "nobody here wants that");
    let view = engine.connection(id).unwrap();
    assert_eq!(view.types[0].nack.as_deref(), Some("spec.rules[0]: no"));
    assert!(view.behind);
    // A new name is another question.
    let response = ask(&mut engine, id, &subscribe(POLICY, &["other"]));
    assert_eq!(told(&response), ["other"]);
    silent(&mut engine, id, &ack(&response));
    assert!(
        engine.connection(id).unwrap().types[0].nack.is_some(),
        "still refused"
    );
    put(&mut engine, POLICY, "a", "good");
    let response = engine.poll(id).unwrap();
    assert_eq!(told(&response), ["a"]);
    silent(&mut engine, id, &ack(&response));
    let view = engine.connection(id).unwrap();
    assert_eq!((view.types[0].nack.clone(), view.behind), (None, false));
}

#[test]
fn after_a_nack_a_change_comes_alone_and_then_once_more_what_was_refused() {
    let mut engine = engine();
    put(&mut engine, POLICY, "a", "needs b");
    put(&mut engine, POLICY, "b", "old");
    let id = engine.connect();
    let response = ask(&mut engine, id, &subscribe(POLICY, &["b"]));
    silent(&mut engine, id, &ack(&response));
    let response = ask(&mut engine, id, &subscribe(POLICY, &["a"]));
    silent(&mut engine, id, &nack(&response, "b is too old"));
    put(&mut engine, POLICY, "b", "new");
    let response = engine.poll(id).unwrap();
    assert_eq!(told(&response), ["b"]);
    let response = ask(&mut engine, id, &ack(&response));
    assert_eq!(told(&response), ["a"]);
    silent(&mut engine, id, &nack(&response, "still"));
    assert_eq!(engine.poll(id), None, "one more try, not a loop");
}

#[test]
fn a_refused_change_that_is_taken_back_leaves_the_client_up_to_date() {
    let mut engine = engine();
    put(&mut engine, POLICY, "a", "1");
    let id = engine.connect();
    let response = ask(&mut engine, id, &subscribe(POLICY, &["a"]));
    silent(&mut engine, id, &ack(&response));
    put(&mut engine, POLICY, "a", "bad");
    let response = engine.poll(id).unwrap();
    silent(&mut engine, id, &nack(&response, "no"));
    put(&mut engine, POLICY, "a", "1");
    // What the client kept of a refused response is not known, so it is told.
    let response = engine.poll(id).unwrap();
    silent(&mut engine, id, &ack(&response));
    assert!(!engine.connection(id).unwrap().behind);
}

#[test]
fn a_stale_nonce_settles_nothing_but_its_names_count() {
    let mut engine = engine();
    put(&mut engine, POLICY, "a", "1");
    put(&mut engine, POLICY, "b", "1");
    let id = engine.connect();
    let first = ask(&mut engine, id, &subscribe(POLICY, &["a"]));
    let mut stale = nack(&first, "about something else");
    stale.response_nonce = "from another life".into();
    stale.resource_names_subscribe = names(&["b"]);
    silent(&mut engine, id, &stale);
    assert_eq!(engine.connection(id).unwrap().types[0].nack, None);
    let second = ask(&mut engine, id, &ack(&first));
    assert_eq!(told(&second), ["b"]);
    silent(&mut engine, id, &ack(&first));
    assert!(
        engine.connection(id).unwrap().behind,
        "the first nonce does not settle the second response"
    );
}

#[test]
fn an_answer_to_another_stream_is_not_a_wildcard() {
    let mut engine = engine();
    put(&mut engine, POLICY, "a", "1");
    let id = engine.connect();
    let old = DeltaDiscoveryRequest {
        type_url: POLICY.into(),
        response_nonce: "7-1".into(),
        ..Default::default()
    };
    silent(&mut engine, id, &old);
    assert_eq!(
        told(&ask(&mut engine, id, &subscribe(POLICY, &[]))),
        ["a"],
        "this one is"
    );
}

#[test]
fn an_empty_nonce_with_new_names_is_a_request() {
    let mut engine = engine();
    put(&mut engine, POLICY, "a", "1");
    put(&mut engine, POLICY, "b", "1");
    let id = engine.connect();
    let first = ask(&mut engine, id, &subscribe(POLICY, &["a"]));
    silent(&mut engine, id, &subscribe(POLICY, &["b"]));
    let second = ask(&mut engine, id, &ack(&first));
    assert_eq!(told(&second), ["b"]);
}

#[test]
fn a_reconnect_is_sent_only_the_difference_also_by_another_server() {
    let mut engine = engine();
    for (name, content) in [("same", "1"), ("changed", "2"), ("new", "1")] {
        put(&mut engine, POLICY, name, content);
    }
    let id = engine.connect();
    let mut request = subscribe(POLICY, &["same", "changed", "new", "gone"]);
    request.initial_resource_versions = BTreeMap::from([
        ("same".into(), Version::of(b"1").to_string()),
        ("changed".into(), Version::of(b"1").to_string()),
        ("gone".into(), Version::of(b"1").to_string()),
    ]);
    engine.on_request(id, &request).unwrap();
    let news = engine.poll(id).unwrap();
    assert_eq!(told(&news), ["new", "changed"]);
    assert!(news.removed_resources.is_empty(), "removals last");
    let removal = ask(&mut engine, id, &ack(&news));
    assert_eq!(
        (told(&removal), removal.removed_resources.clone()),
        (vec![], names(&["gone"]))
    );
    silent(&mut engine, id, &ack(&removal));
}

#[test]
fn versions_that_are_not_ours_are_replaced_and_later_ones_ignored() {
    let mut engine = engine();
    put(&mut engine, POLICY, "a", "1");
    put(&mut engine, POLICY, "b", "1");
    let id = engine.connect();
    let mut request = subscribe(POLICY, &["a"]);
    request.initial_resource_versions = BTreeMap::from([("a".into(), "v1".into())]);
    let first = ask(&mut engine, id, &request);
    assert_eq!(told(&first), ["a"]);
    let mut second = ack(&first);
    second.resource_names_subscribe = names(&["b"]);
    second.initial_resource_versions =
        BTreeMap::from([("b".into(), Version::of(b"1").to_string())]);
    assert_eq!(
        told(&ask(&mut engine, id, &second)),
        ["b"],
        "only the first request of a type says what is held"
    );
}

#[test]
fn a_wildcard_gets_everything_and_everything_that_comes() {
    let mut engine = engine();
    let id = engine.connect();
    let empty = ask(&mut engine, id, &subscribe(POLICY, &[]));
    assert!(
        empty.resources.is_empty() && empty.removed_resources.is_empty(),
        "says that there is nothing"
    );
    silent(&mut engine, id, &ack(&empty));
    put(&mut engine, POLICY, "a", "1");
    let response = engine.poll(id).unwrap();
    assert_eq!(told(&response), ["a"]);
    silent(&mut engine, id, &ack(&response));
    // A name on top, then only the name.
    let response = ask(&mut engine, id, &subscribe(POLICY, &["a"]));
    silent(&mut engine, id, &ack(&response));
    silent(&mut engine, id, &unsubscribe(POLICY, &[WILDCARD]));
    put(&mut engine, POLICY, "b", "1");
    assert_eq!(engine.poll(id), None);
    put(&mut engine, POLICY, "a", "2");
    assert_eq!(told(&engine.poll(id).unwrap()), ["a"]);
}

#[test]
fn a_name_given_up_below_a_wildcard_is_answered() {
    let mut engine = engine();
    put(&mut engine, POLICY, "a", "1");
    let id = engine.connect();
    let response = ask(&mut engine, id, &subscribe(POLICY, &[WILDCARD, "a", "b"]));
    assert_eq!(
        (told(&response), response.removed_resources.clone()),
        (vec!["a"], names(&["b"]))
    );
    engine.on_request(id, &ack(&response)).unwrap();
    let response = ask(&mut engine, id, &unsubscribe(POLICY, &["a", "b"]));
    assert_eq!(
        (told(&response), response.removed_resources.clone()),
        (vec!["a"], names(&["b"]))
    );
}

#[test]
fn an_unsubscribed_name_is_not_spoken_of_and_comes_anew_when_subscribed_again() {
    let mut engine = engine();
    put(&mut engine, POLICY, "a", "1");
    let id = engine.connect();
    let response = ask(&mut engine, id, &subscribe(POLICY, &["a"]));
    silent(&mut engine, id, &ack(&response));
    silent(&mut engine, id, &unsubscribe(POLICY, &["a"]));
    put(&mut engine, POLICY, "a", "2");
    engine.update(POLICY, "a", None);
    assert!(engine.take_woken().is_empty());
    assert_eq!(engine.poll(id), None);
    put(&mut engine, POLICY, "a", "1");
    assert_eq!(
        told(&ask(&mut engine, id, &subscribe(POLICY, &["a"]))),
        ["a"]
    );
}

#[test]
fn what_is_referred_to_goes_first_and_removals_last_the_other_way() {
    let mut engine = engine();
    for type_url in [ENDPOINTS, POLICY] {
        put(&mut engine, type_url, "old", "1");
    }
    let id = engine.connect();
    for type_url in [POLICY, ENDPOINTS] {
        let response = ask(&mut engine, id, &subscribe(type_url, &["old", "new"]));
        silent(&mut engine, id, &ack(&response));
    }
    // In the worst order: the removal first, the referrer before what it refers to.
    engine.update(ENDPOINTS, "old", None);
    engine.update(POLICY, "old", None);
    put(&mut engine, POLICY, "new", "1");
    put(&mut engine, ENDPOINTS, "new", "1");
    let first = engine.poll(id).unwrap();
    assert_eq!(
        (first.type_url.as_str(), told(&first)),
        (ENDPOINTS, vec!["new"])
    );
    let second = engine.poll(id).unwrap();
    assert_eq!(
        (second.type_url.as_str(), told(&second)),
        (POLICY, vec!["new"])
    );
    assert_eq!(engine.poll(id), None, "removals wait until the new is held");
    silent(&mut engine, id, &ack(&first));
    engine.on_request(id, &ack(&second)).unwrap();
    let third = engine.poll(id).unwrap();
    let fourth = engine.poll(id).unwrap();
    assert_eq!(
        (third.type_url.as_str(), &third.removed_resources),
        (POLICY, &names(&["old"]))
    );
    assert_eq!(
        (fourth.type_url.as_str(), &fourth.removed_resources),
        (ENDPOINTS, &names(&["old"]))
    );
}

#[test]
fn nothing_is_removed_under_a_client_that_refused_the_new() {
    let mut engine = engine();
    put(&mut engine, ENDPOINTS, "old", "1");
    put(&mut engine, POLICY, "a", "to old");
    let id = engine.connect();
    for (type_url, name) in [(ENDPOINTS, "old"), (POLICY, "a")] {
        let response = ask(&mut engine, id, &subscribe(type_url, &[name]));
        silent(&mut engine, id, &ack(&response));
    }
    put(&mut engine, POLICY, "a", "bad");
    engine.update(ENDPOINTS, "old", None);
    let response = engine.poll(id).unwrap();
    silent(&mut engine, id, &nack(&response, "no"));
    put(&mut engine, POLICY, "a", "to new");
    let response = engine.poll(id).unwrap();
    let response = ask(&mut engine, id, &ack(&response));
    assert_eq!(response.removed_resources, ["old"]);
}

#[test]
fn much_content_is_split_and_nothing_is_lost() {
    let limits = Limits {
        response_bytes: 100,
        ..Limits::default()
    };
    let mut engine = Engine::new(Config {
        limits,
        ..Config::default()
    });
    let all: Vec<String> = (0..20).map(|n| format!("name-{n:02}")).collect();
    for name in &all {
        put(&mut engine, POLICY, name, &"x".repeat(40));
    }
    let id = engine.connect();
    engine
        .on_request(id, &subscribe(POLICY, &[WILDCARD]))
        .unwrap();
    let mut got = Vec::new();
    while let Some(response) = engine.poll(id) {
        assert!(response.resources.len() <= 3);
        got.extend(
            response
                .resources
                .iter()
                .map(|resource| resource.name.clone()),
        );
        engine.on_request(id, &ack(&response)).unwrap();
    }
    assert_eq!(got, all);
}

#[test]
fn a_revision_is_shown_as_run_only_when_everything_wanted_is_confirmed() {
    let mut engine = engine();
    engine.set_revision("r1");
    put(&mut engine, POLICY, "a", "1");
    let id = engine.connect();
    let mut request = subscribe(POLICY, &["a"]);
    request.node = Some(Node {
        id: "web-1".into(),
        ..Default::default()
    });
    let response = ask(&mut engine, id, &request);
    assert_eq!(engine.connection(id).unwrap().revision, None);
    silent(&mut engine, id, &ack(&response));
    assert_eq!(
        engine.connection(id).unwrap().revision.as_deref(),
        Some("r1")
    );
    engine.set_revision("r2");
    put(&mut engine, POLICY, "other", "1");
    let view = engine.connection(id).unwrap();
    assert_eq!(
        (view.revision.as_deref(), view.behind),
        (Some("r2"), false),
        "nothing in r2 concerns it"
    );
    put(&mut engine, POLICY, "a", "2");
    let view = engine.connection(id).unwrap();
    assert_eq!((view.revision.as_deref(), view.behind), (Some("r1"), true));
    assert_eq!(view.node.unwrap().id, "web-1");
}

#[test]
fn a_peer_cannot_make_the_server_keep_more_than_its_bounds() {
    let limits = Limits {
        names_per_request: 3,
        names_per_connection: 4,
        name_bytes: 8,
        types_per_connection: 2,
        error_bytes: 4,
        ..Limits::default()
    };
    let config = Config {
        limits,
        order: vec!["x".into(), "y".into(), "z".into()],
        ..Config::default()
    };
    let mut engine = Engine::new(config);
    let id = engine.connect();
    let refused = |engine: &mut Engine, request: DeltaDiscoveryRequest| {
        engine.on_request(id, &request).unwrap_err()
    };
    assert_eq!(
        refused(&mut engine, subscribe("x", &["1", "2", "3", "4"])),
        Violation::NamesPerRequest(4)
    );
    assert_eq!(
        refused(&mut engine, subscribe("x", &["123456789"])),
        Violation::NameBytes(9)
    );
    assert_eq!(
        refused(&mut engine, subscribe("", &["1"])),
        Violation::NoType
    );
    engine
        .on_request(id, &subscribe("x", &["1", "2", "3"]))
        .unwrap();
    engine.on_request(id, &subscribe("y", &["1"])).unwrap();
    engine.on_request(id, &subscribe("x", &["1", "2"])).unwrap();
    assert_eq!(
        refused(&mut engine, subscribe("x", &["4"])),
        Violation::NamesPerConnection(4)
    );
    assert_eq!(
        refused(&mut engine, subscribe("z", &[])),
        Violation::TypesPerConnection(2)
    );
    let response = engine.poll(id).unwrap();
    engine.on_request(id, &nack(&response, "abcöefg")).unwrap();
    assert_eq!(
        engine.connection(id).unwrap().types[0].nack.as_deref(),
        Some("abc"),
        "cut at a character"
    );
    engine.disconnect(id);
    assert_eq!(
        refused(&mut engine, subscribe("x", &["1"])),
        Violation::UnknownConnection
    );
    assert!(engine.wanted("x").is_empty(), "nothing is left of it");
}
