//! What instances say of themselves, and what the control server says of their place, decides where
//! the calls of others go. Real sockets, real TLS.

#![allow(clippy::print_stdout, reason = "the figures are what the tests show")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::{Scratch, eventually, meshctl, start};
use mesh_control::server::Running;

/// A member that serves at so many addresses and counts the calls at each.
struct Counted {
    mesh: mesh_tower::Mesh,
    _serving: Vec<mesh_tower::server::ServerHandle>,
    calls: Vec<Arc<AtomicU32>>,
}

async fn counted(join: mesh_grpc::Join, ports: usize) -> Counted {
    let mesh = join.join().await.unwrap();
    let calls: Vec<Arc<AtomicU32>> = (0..ports).map(|_| Arc::default()).collect();
    let serve = |calls: &Arc<AtomicU32>| {
        let calls = calls.clone();
        let answer = tower::service_fn(move |_: http::Request<mesh_tower::MeshBody>| {
            calls.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Ok::<_, std::convert::Infallible>(http::Response::new(
                mesh_tower::MeshBody::empty(),
            )))
        });
        let server = mesh.server().bind("127.0.0.1:0").unwrap();
        server.serve(answer).unwrap()
    };
    let serving = calls.iter().map(serve).collect();
    Counted {
        mesh,
        _serving: serving,
        calls,
    }
}

fn joining(server: &Running, service: &str, instance: &str) -> mesh_grpc::Join {
    mesh_grpc::Join::builder()
        .without_env()
        .service(service)
        .control(&format!("https://{}", server.grpc_addr))
        .identity(&format!("token:{}", server.token_path().display()))
        .instance(instance)
}

/// Calls, one after the other; what does not succeed fails the test.
async fn calls(mesh: &mesh_tower::Mesh, number: usize) {
    let mut client = mesh.client("shop/reviews");
    for _ in 0..number {
        let request = http::Request::get("/").body(mesh_tower::MeshBody::empty());
        let response = tower_service::Service::call(&mut client, request.unwrap())
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
    }
}

/// Puts a policy for the callers of `shop/reviews` into force.
async fn apply(server: &Running, scratch: &Scratch, backend: &str) {
    let text =
        format!("service: shop/reviews\nports: [{{ port: 80 }}]\nbackend: {{ {backend} }}\n");
    let file = scratch.write("reviews.yaml", &text);
    let socket = format!("unix:{}", server.admin_socket().display());
    let (exit, out, err) = meshctl(&socket, &["policy", "apply", file.to_str().unwrap()]).await;
    assert_eq!(exit, 0, "{out}{err}");
}

/// 12 endpoints, three callers, and arcs of a third of the ring each: together they cover all
/// endpoints once. With arcs at random places they would overlap in all but one of thousands.
#[tokio::test(flavor = "multi_thread")]
async fn finagle_deterministic_apertures_of_three_processes_divide_the_endpoints() {
    let scratch = Scratch::new();
    let server = start(&scratch).await;
    apply(
        &server,
        &scratch,
        "loadBalancing: { algorithm: Random, apertureAbove: 1, apertureMin: 1 }",
    )
    .await;
    let reviews = counted(joining(&server, "shop/reviews", "reviews"), 12).await;
    let mut webs = Vec::new();
    for name in ["web-0", "web-1", "web-2"] {
        webs.push(counted(joining(&server, "shop/web", name), 1).await);
    }
    let taken = || -> Vec<u32> {
        let take = |calls: &Arc<AtomicU32>| calls.swap(0, Ordering::Relaxed);
        reviews.calls.iter().map(take).collect()
    };
    // Until each has heard of the others and of all twelve.
    let arcs = eventually(
        async || {
            taken();
            let mut arcs = Vec::new();
            for web in &webs {
                calls(&web.mesh, 200).await;
                let used = taken().iter().filter(|calls| **calls > 0).count();
                arcs.push(used);
            }
            arcs
        },
        |arcs| *arcs == [4, 4, 4],
    )
    .await;
    for web in &webs {
        calls(&web.mesh, 200).await;
    }
    let all = taken();
    println!("three arcs use {arcs:?} of 12 endpoints; together calls at each: {all:?}");
    assert!(all.iter().all(|calls| *calls > 0), "{all:?}");

    // One leaves: two arcs of a half each.
    let gone = webs.remove(1);
    gone.mesh.shutdown().await;
    let arcs = eventually(
        async || {
            taken();
            let mut arcs = Vec::new();
            for web in &webs {
                calls(&web.mesh, 300).await;
                arcs.push(taken().iter().filter(|calls| **calls > 0).count());
            }
            arcs
        },
        |arcs| *arcs == [6, 6],
    )
    .await;
    println!("two arcs use {arcs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_instances_say_of_themselves_decides_where_calls_go() {
    let scratch = Scratch::new();
    let server = start(&scratch).await;
    // Weights, turn by turn.
    apply(
        &server,
        &scratch,
        "loadBalancing: { algorithm: RoundRobin }",
    )
    .await;
    let one = counted(joining(&server, "shop/reviews", "one").weight(1), 1).await;
    let three = counted(joining(&server, "shop/reviews", "three").weight(3), 1).await;
    let spare = counted(joining(&server, "shop/reviews", "spare").priority(1), 1).await;
    let web = joining(&server, "shop/web", "web").join().await.unwrap();
    let at = |of: &Counted| of.calls[0].swap(0, Ordering::Relaxed);
    let shares = eventually(
        async || {
            let _ = (at(&one), at(&three), at(&spare));
            calls(&web, 400).await;
            (at(&one), at(&three), at(&spare))
        },
        |shares| *shares == (100, 300, 0),
    )
    .await;
    println!("calls at weight 1, weight 3 and priority 1: {shares:?}");

    // The first priority is gone: the spare takes over, and no call fails.
    one.mesh.shutdown().await;
    three.mesh.shutdown().await;
    calls(&web, 100).await;
    println!("with the first priority gone the spare has {}", at(&spare));
}

/// Envoy's zone aware routing: with as many callers in each zone as endpoints, calls stay at home.
#[tokio::test(flavor = "multi_thread")]
async fn envoy_zone_aware_calls_of_members_stay_in_their_zone() {
    let scratch = Scratch::new();
    let server = start(&scratch).await;
    let zone = |zone: &str, ports| {
        let join = joining(&server, "shop/reviews", zone).zone(zone);
        counted(join, ports)
    };
    let (a, b) = (zone("eu/a", 3).await, zone("eu/b", 3).await);
    let web_a = counted(joining(&server, "shop/web", "a").zone("eu/a"), 1).await;
    let web_b = counted(joining(&server, "shop/web", "b").zone("eu/b"), 1).await;
    let took = |of: &Counted| -> u32 {
        let take = |calls: &Arc<AtomicU32>| calls.swap(0, Ordering::Relaxed);
        of.calls.iter().map(take).sum()
    };
    let shares = eventually(
        async || {
            let _ = (took(&a), took(&b));
            calls(&web_a.mesh, 200).await;
            let from_a = (took(&a), took(&b));
            calls(&web_b.mesh, 200).await;
            (from_a, (took(&a), took(&b)))
        },
        |shares| *shares == ((200, 0), (0, 200)),
    )
    .await;
    println!("calls from eu/a and eu/b to (eu/a, eu/b): {shares:?}");
}
