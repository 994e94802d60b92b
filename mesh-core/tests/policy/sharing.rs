//! What an update leaves alone stays the same memory; the store keeps the last good policy.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh_core::name::ServiceName;
use mesh_core::policy::spec::Resource;
use mesh_core::policy::validate::{revision, validate};
use mesh_core::policy::{Layer, Options, Snapshot, Source, Store, text};

fn resources(text: &str) -> Vec<Arc<Resource>> {
    let source = Source::new("mesh.yaml", text);
    let loaded = text::load(std::slice::from_ref(&source));
    assert!(
        loaded.diagnostics.is_empty(),
        "{}",
        loaded.diagnostics.render(&[source])
    );
    loaded.resources
}

fn one(n: usize, timeout: &str) -> String {
    let other = if n > 0 {
        format!("s{}: 1, ", n / 2)
    } else {
        String::new()
    };
    format!(
        "service: shop/s{n}:80\nports: [{{ port: 80 }}]\nroute:\n- timeout: {timeout}\n  backends: {{ {other}s{n}: 9 }}\n\
         backend: {{ connectTimeout: 500ms }}\naccess: {{ mode: Enforce, allow: [{{ from: web }}] }}\n"
    )
}

fn many(count: usize) -> String {
    let texts: Vec<String> = (0..count).map(|n| one(n, "2s")).collect();
    texts.join("---\n")
}

fn name(n: usize) -> ServiceName {
    ServiceName::new("shop", format!("s{n}")).unwrap()
}

/// How many services, routes and backends of `after` are not those of `before`.
fn changed(before: &Snapshot, after: &Snapshot) -> (usize, usize, usize) {
    let (a, b) = (before.outbound(), after.outbound());
    let services = b
        .services()
        .filter(|s| a.service(s.name()).is_none_or(|old| !Arc::ptr_eq(old, s)));
    let routes = b.services().map(|s| {
        let old = a
            .service(s.name())
            .map(|old| old.all_routes())
            .unwrap_or_default();
        let kept = |r: &Arc<_>| old.iter().any(|(_, o)| Arc::ptr_eq(o, r));
        s.all_routes().iter().filter(|(_, r)| !kept(r)).count()
    });
    let backends = b
        .backends()
        .iter()
        .filter(|n| !a.backend(n.ix()).is_some_and(|o| Arc::ptr_eq(o, n)));
    (services.count(), routes.sum(), backends.count())
}

#[test]
fn one_change_among_a_thousand_services_leaves_the_rest_alone() {
    let store = Store::new(Options::whole());
    let mut all = resources(&many(1000));
    let before = store.apply(Layer::Control, all.clone()).unwrap();
    assert_eq!(before.outbound().backends().len(), 1000);

    let new = resources(&one(7, "3s"));
    for resource in new {
        let at = all.iter().position(|r| r.id() == resource.id()).unwrap();
        all[at] = resource;
    }
    let start = Instant::now();
    let after = store.apply(Layer::Control, all).unwrap();
    let took = start.elapsed();
    assert_eq!(changed(&before, &after), (1, 1, 0));
    // Without optimisation; what matters is that it is nowhere near a second per thousand.
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_ne!(before.revision(), after.revision());
    assert_eq!(after.version(), before.version() + 1);
    let access = |s: &Snapshot| s.inbound().access_for(&name(7));
    assert!(Arc::ptr_eq(&access(&before), &access(&after)));
}

#[test]
fn positions_of_backends_stay_when_others_come_and_go() {
    let store = Store::new(Options::whole());
    let set = |numbers: &[usize]| {
        let texts: Vec<String> = numbers
            .iter()
            .map(|n| format!("service: shop/s{n}\nports: [{{ port: 80 }}]\n"))
            .collect();
        store
            .apply(Layer::File, resources(&texts.join("---\n")))
            .unwrap()
    };
    let first = set(&[1, 3, 5, 7]);
    let more = set(&[1, 2, 3, 4, 5, 7]);
    assert_eq!(changed(&first, &more), (2, 2, 2), "only the new ones");
    let fewer = set(&[1, 2, 4, 5, 7]);
    let (services, _, backends) = changed(&more, &fewer);
    assert!(
        services <= 1 && backends <= 1,
        "at most the last one moves: {services} {backends}"
    );
    for backend in fewer.outbound().backends() {
        assert_eq!(
            fewer.outbound().backend(backend.ix()).unwrap().service(),
            backend.service()
        );
    }
}

#[test]
fn a_revision_depends_on_the_content_alone() {
    let mut all = resources(&many(3));
    let first = revision(&all);
    all.reverse();
    assert_eq!(revision(&all), first);
    assert_eq!(
        first,
        revision(&resources(&format!("# moved by a line\n{}", many(3))))
    );
    // The same in every process and on every machine: held versions are compared across restarts.
    assert_eq!(
        revision(&resources(include_str!("../fixtures/ours-long.yaml"))).as_ref(),
        "4d4185f31b6f18df"
    );
}

#[test]
fn a_bad_layer_changes_nothing() {
    let store = Store::new(Options::whole());
    let good = store.apply(Layer::File, resources(&one(0, "2s"))).unwrap();
    let mut watch = store.watch();
    watch.mark_unchanged();
    let bad = resources("service: shop/s0:81\nroute: [{ backends: { nobody: 1 } }]\n");
    let errors = store.apply(Layer::File, bad).unwrap_err();
    assert!(errors.has("M3009"), "{errors}");
    assert!(Arc::ptr_eq(&store.current(), &good));
    assert!(!watch.has_changed().unwrap());
    assert_eq!(
        store.layer_revision(Layer::File),
        Some(good.revision().clone())
    );
}

#[test]
fn the_same_again_wakes_nobody() {
    let store = Store::new(Options::whole());
    let first = store.apply(Layer::File, resources(&many(2))).unwrap();
    let mut watch = store.watch();
    watch.mark_unchanged();
    let mut again = resources(&many(2));
    again.reverse();
    assert!(Arc::ptr_eq(
        &store.apply(Layer::File, again).unwrap(),
        &first
    ));
    assert!(!watch.has_changed().unwrap());
}

#[test]
fn a_higher_layer_replaces_the_same_resource_of_a_lower_one() {
    let store = Store::new(Options::whole());
    let timeout = || {
        let current = store.current();
        let service = current.outbound().service(&name(0)).unwrap().clone();
        service.all_routes()[0]
            .1
            .timeouts()
            .request()
            .unwrap()
            .as_secs()
    };
    store.apply(Layer::Code, resources(&one(0, "1s"))).unwrap();
    assert_eq!(timeout(), 1);
    store
        .apply(Layer::Control, resources(&one(0, "3s")))
        .unwrap();
    assert_eq!(timeout(), 3);
    store.apply(Layer::File, resources(&one(0, "2s"))).unwrap();
    assert_eq!(timeout(), 3, "the control server wins over the file");
    store.apply(Layer::Control, Vec::new()).unwrap();
    assert_eq!(timeout(), 2, "its resources withdrawn, the file's hold");
    assert_eq!(store.resources().len(), 4);
}

#[test]
fn nothing_of_the_previous_snapshot_leaks_into_the_next() {
    let all = resources(&many(20));
    let (fresh, _) = validate(&all, &Options::whole(), None).unwrap();
    let (other, _) = validate(&resources(&one(0, "9s")), &Options::whole(), None).unwrap();
    let (after, _) = validate(&all, &Options::whole(), Some(&other)).unwrap();
    assert_eq!(after.revision(), fresh.revision());
    for service in fresh.outbound().services() {
        let same = after.outbound().service(service.name()).unwrap();
        let show = |s: &Snapshot, service: &mesh_core::policy::model::Service| {
            let routes = service.all_routes().iter().map(|(port, route)| {
                let targets = route.split().targets().iter();
                let targets: Vec<_> = targets
                    .map(|t| {
                        (
                            s.outbound().backend(t.backend()).unwrap().key().clone(),
                            t.weight(),
                        )
                    })
                    .collect();
                (*port, route.timeouts().request(), targets)
            });
            routes.collect::<Vec<_>>()
        };
        assert_eq!(show(&after, same), show(&fresh, service));
    }
}
