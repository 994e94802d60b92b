//! Calls whose connection ended under them: one process that dies costs no call that may be
//! repeated, and a service whose every connection dies sees no storm.

#![allow(clippy::print_stdout, reason = "the figures are what the tests show")]

use std::time::Duration;

use futures_util::future::join_all;
use mesh_tower::testkit::{Reply, TestEndpoint, TestNet};
use mesh_tower::{Mesh, MeshClient};
use tokio::time::{interval, sleep};

use crate::support::{code, edge, get, status, under};

const MS: Duration = Duration::from_millis(1);

/// Two endpoints; budget and ceilings are the defaults.
fn two(net: &TestNet, backend: &str) -> ([TestEndpoint; 2], Mesh, MeshClient) {
    let all = ["10.0.0.1:80", "10.0.0.2:80"].map(|addr| net.endpoint(addr));
    let (mesh, client) = under(
        net,
        &format!(
            "service: shop/reviews\n\
             endpoints: {{ static: [{{ address: '10.0.0.1:80' }}, {{ address: '10.0.0.2:80' }}] }}\n\
             route: [{{ retry: {{ attempts: 2, codes: [503] }} }}]\n\
             backend: {{ loadBalancing: {{ algorithm: RoundRobin }} {backend} }}\n"
        ),
    );
    (all, mesh, client)
}

#[tokio::test(start_paused = true)]
async fn all_that_is_in_flight_on_an_endpoint_that_dies_is_rescued() {
    for hedged in [false, true] {
        for in_flight in [10, 40, 200] {
            let net = TestNet::new();
            // Hedges that are never due: what is repeated is repeated because it failed.
            let hedging = ", hedging: { enabled: true, delay: 10s }";
            let ([one, other], mesh, client) = two(&net, if hedged { hedging } else { "" });
            for endpoint in [&one, &other] {
                endpoint.decide(|_| Reply::new(200, "").after(100 * MS));
            }
            let calls = join_all((0..in_flight).map(|_| status(&client, get("/"))));
            let kill = async {
                sleep(50 * MS).await;
                one.kill();
            };
            let (results, ()) = tokio::join!(calls, kill);
            let broken = one.calls();
            let failed = results.iter().filter(|one| one.is_err()).count();
            let rescued = edge(&mesh).rescued;
            println!(
                "hedged: {hedged}; {in_flight} in flight, {broken} of them on the one that died: \
                 {rescued} rescued, {failed} failed"
            );
            assert_eq!(failed, 0);
            assert_eq!((broken, rescued), (in_flight / 2, in_flight as u64 / 2));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_every_connection_dies_sees_a_fifth_and_ten_a_second_more() {
    const SECONDS: usize = 30;
    const RATE: usize = 100;
    let net = TestNet::new();
    let (all, _mesh, client) = two(&net, "");
    for endpoint in &all {
        endpoint.reply(Reply::reset());
    }
    let mut pace = interval(Duration::from_secs(1) / RATE as u32);
    let mut calls = Vec::new();
    let arrived = || all.iter().map(TestEndpoint::calls).sum::<usize>();
    let mut by_second = Vec::new();
    for _ in 0..SECONDS {
        let before = arrived();
        for _ in 0..RATE {
            pace.tick().await;
            let client = client.clone();
            calls.push(tokio::spawn(async move { status(&client, get("/")).await }));
        }
        by_second.push(arrived() - before);
    }
    let offered = calls.len();
    for result in join_all(calls).await {
        assert_eq!(code(result.unwrap()), "M2012");
    }
    // In ten seconds: a fifth of the calls in them, and a hundred.
    let worst = by_second.windows(10).map(|ten| ten.iter().sum::<usize>());
    let worst = worst.max().unwrap();
    println!(
        "{offered} calls, {} attempts; in the worst ten seconds {worst} for {}",
        arrived(),
        10 * RATE
    );
    println!("attempts in each second: {by_second:?}");
    assert!(worst <= 10 * RATE * 12 / 10 + 100, "{worst}");
    assert!(worst > 10 * RATE, "nothing was repeated");
}
