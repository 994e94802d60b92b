use super::*;
use crate::scratch::Scratch;

const A: Holder = Holder(1);
const B: Holder = Holder(2);

fn instance(service: &str, port: u16) -> Instance {
    Instance {
        service: service.parse().unwrap(),
        addr: SocketAddr::from(([10, 0, 0, 1], port)),
        instance: format!("{service}-{port}"),
        identity: "spiffe://mesh.local/ns/shop/sa/web".to_owned(),
        labels: BTreeMap::from([("port".to_owned(), port.to_string())]),
        zone: String::new(),
        weight: 1,
        priority: 0,
    }
}

fn live(registry: &Registry) -> Vec<u16> {
    registry
        .all()
        .map(|instance| instance.addr.port())
        .collect()
}

#[test]
fn a_crashed_instance_is_gone_within_20_seconds_of_its_last_heartbeat() {
    let start = Instant::now();
    let mut registry = Registry::default();
    assert!(
        registry
            .register(A, instance("shop/web", 1), start)
            .unwrap()
    );
    let mut last = start;
    for _ in 0..10 {
        last += Duration::from_secs(5);
        assert!(registry.expire(last).is_empty());
        registry.heartbeat(A, last);
    }
    registry.stream_ended(A);
    assert!(LEASE <= Duration::from_secs(20));
    assert!(
        registry
            .expire(last + LEASE - Duration::from_millis(1))
            .is_empty()
    );
    assert_eq!(registry.expire(last + LEASE).len(), 1);
    assert_eq!(registry.len(), 0);
    assert_eq!(registry.lost().count(), 1);
}

#[test]
fn two_lost_heartbeats_do_no_harm() {
    let start = Instant::now();
    let mut registry = Registry::default();
    registry
        .register(A, instance("shop/web", 1), start)
        .unwrap();
    let third = start + Duration::from_millis(14_999);
    assert!(registry.expire(third).is_empty());
    registry.heartbeat(A, third);
    assert!(registry.expire(third + Duration::from_secs(14)).is_empty());
}

#[test]
fn only_the_holder_takes_an_entry_out() {
    let now = Instant::now();
    let mut registry = Registry::default();
    registry.register(A, instance("shop/web", 1), now).unwrap();
    registry.register(A, instance("shop/web", 2), now).unwrap();
    assert!(
        !registry.register(B, instance("shop/web", 1), now).unwrap(),
        "a reconnect"
    );
    assert_eq!((registry.held_by(A), registry.held_by(B)), (1, 1));
    registry.stream_ended(A);
    assert!(registry.deregister(A, None, None).is_empty());
    let gone = registry.deregister(B, None, None);
    assert_eq!(services_of(&gone), ["shop/web".parse().unwrap()]);
    assert_eq!(live(&registry), [2]);
    assert_eq!(registry.lost().count(), 0, "a clean stop is not a loss");
}

#[test]
fn deregister_takes_one_address_or_one_service() {
    let now = Instant::now();
    let mut registry = Registry::default();
    for entry in [
        instance("shop/a", 1),
        instance("shop/a", 2),
        instance("shop/b", 3),
    ] {
        registry.register(A, entry, now).unwrap();
    }
    let a = "shop/a".parse().unwrap();
    registry.deregister(A, Some(&a), Some(SocketAddr::from(([10, 0, 0, 1], 1))));
    assert_eq!(live(&registry), [2, 3]);
    registry.deregister(A, Some(&a), None);
    assert_eq!(live(&registry), [3]);
}

#[test]
fn restored_entries_get_one_fresh_lease_and_no_blame() {
    let dir = Scratch::new("leases");
    let file = LeaseFile::new(dir.path());
    assert_eq!(file.load(), (Vec::new(), None));
    file.save(vec![instance("shop/web", 1), instance("shop/web", 2)])
        .unwrap();

    let now = Instant::now();
    let mut registry = Registry::default();
    let (instances, problem) = file.load();
    assert_eq!(problem, None);
    registry.restore(instances, now);
    assert_eq!(live(&registry), [1, 2]);
    let web = "shop/web".parse().unwrap();
    assert!(
        registry
            .instances(&web, now)
            .all(|row| !row.orphan && row.left == LEASE)
    );
    registry
        .register(A, instance("shop/web", 1), now + Duration::from_secs(3))
        .unwrap();
    registry.expire(now + LEASE);
    assert_eq!(live(&registry), [1]);

    std::fs::write(dir.path().join("leases.json"), "{").unwrap();
    assert!(file.load().1.is_some(), "a torn file does not stop a start");
}

#[test]
fn a_replacement_ends_the_talk_of_a_loss() {
    let now = Instant::now();
    let mut registry = Registry::default();
    registry.register(A, instance("shop/web", 1), now).unwrap();
    registry.stream_ended(A);
    registry.expire(now + LEASE);
    registry
        .register(B, instance("shop/web", 2), now + LEASE)
        .unwrap();
    assert_eq!(registry.lost().count(), 1, "another kind of instance");
    let mut replacement = instance("shop/web", 3);
    replacement.labels = instance("shop/web", 1).labels;
    registry.register(B, replacement, now + LEASE).unwrap();
    assert_eq!(registry.lost().count(), 0);
}

#[test]
fn what_a_peer_can_put_in_is_bounded() {
    let now = Instant::now();
    let mut registry = Registry::default();
    for port in 1..=64 {
        registry
            .register(A, instance("shop/web", port), now)
            .unwrap();
    }
    let error = registry
        .register(A, instance("shop/web", 65), now)
        .unwrap_err();
    assert_eq!(error.to_string(), "a stream holds at most 64 instances");
    registry
        .register(A, instance("shop/web", 64), now)
        .expect("a renewal needs no room");

    let refused = |edit: &dyn Fn(&mut Instance)| {
        let mut entry = instance("shop/web", 1);
        edit(&mut entry);
        Registry::default()
            .register(B, entry, now)
            .unwrap_err()
            .to_string()
    };
    assert!(refused(&|i| i.addr.set_port(0)).contains("not an address"));
    assert!(refused(&|i| i.addr.set_ip([0, 0, 0, 0].into())).contains("not an address"));
    assert!(refused(&|i| i.instance = "x".repeat(300)).contains("instance name"));
    assert!(refused(&|i| i.zone = "a\nb".to_owned()).contains("zone"));
    assert!(refused(&|i| i.weight = 1_000_001).contains("weight"));
    assert!(refused(&|i| drop(i.labels.insert(String::new(), String::new()))).contains("label"));
    assert!(
        refused(&|i| i.labels = (0..33).map(|n| (n.to_string(), String::new())).collect())
            .contains("33 labels")
    );
}

#[test]
fn processes_have_a_place_in_an_order_that_only_joins_and_leaves_change() {
    let now = Instant::now();
    let mut registry = Registry::default();
    let mut join = |holder: u64, name: &str, port: u16, zone: &str| {
        let said = Instance {
            instance: name.to_owned(),
            zone: zone.to_owned(),
            ..instance("shop/web", port)
        };
        registry.register(Holder(holder), said, now).unwrap();
    };
    join(1, "c", 1, "a");
    join(2, "a", 2, "a");
    // Two addresses, one process.
    join(3, "b", 3, "b");
    join(3, "b", 4, "b");
    join(4, "d", 5, "");
    let place = |registry: &Registry, holder: u64| {
        let place = registry.place(Holder(holder)).unwrap();
        (place.index, place.count)
    };
    let all = |registry: &Registry| [1, 2, 3, 4].map(|holder| place(registry, holder));
    assert_eq!(all(&registry), [(2, 4), (0, 4), (1, 4), (3, 4)]);
    let zones = registry.place(Holder(1)).unwrap().zones;
    assert_eq!(zones, BTreeMap::from([("a".into(), 2), ("b".into(), 1)]));
    registry.heartbeat(Holder(2), now + Duration::from_secs(5));
    assert_eq!(all(&registry), [(2, 4), (0, 4), (1, 4), (3, 4)]);
    registry.deregister(Holder(2), None, None);
    assert_eq!(registry.place(Holder(2)), None);
    assert_eq!(
        [1, 3, 4].map(|h| place(&registry, h)),
        [(1, 3), (0, 3), (2, 3)]
    );
}
