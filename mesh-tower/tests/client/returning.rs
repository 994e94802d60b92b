//! How an endpoint comes back: after a restart of its process, and by the probe of an ejected one.

#![allow(clippy::print_stdout, reason = "the figures are what the tests show")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mesh_tower::testkit::{Reply, TestEndpoint, TestNet};
use mesh_tower::{Mesh, MeshClient};
use tokio::time::{Instant, interval, sleep};

use crate::support::{get, status, under};

const MS: Duration = Duration::from_millis(1);
/// Between two calls.
const PACE: Duration = Duration::from_millis(5);
/// Of calls in a second, if each of four endpoints takes its share.
const EVEN: usize = 50;

/// Four endpoints, each as fast as the others, and a steady load.
struct Four {
    all: Vec<TestEndpoint>,
    _mesh: Mesh,
    client: MeshClient,
    failed: Arc<AtomicUsize>,
}

impl Four {
    fn new(policy: &str) -> Self {
        let net = TestNet::new();
        let all: Vec<_> = (1..=4)
            .map(|n| net.endpoint(&format!("10.0.0.{n}:80")))
            .collect();
        for endpoint in &all {
            endpoint.decide(|_| Reply::new(200, "").after(5 * MS));
        }
        let endpoints: Vec<_> = all
            .iter()
            .map(|one| format!("{{ address: \"{}\" }}", one.addr()))
            .collect();
        let text = format!(
            "service: shop/reviews\nendpoints: {{ static: [{}] }}\n{policy}\n",
            endpoints.join(", ")
        );
        let (mesh, client) = under(&net, &text);
        Self {
            all,
            _mesh: mesh,
            client,
            failed: Arc::default(),
        }
    }

    /// Calls for that long; gives how many the first endpoint had in each second.
    async fn load(&self, seconds: usize) -> Vec<usize> {
        let mut pace = interval(PACE);
        let mut per_second = Vec::new();
        let mut before = self.all[0].calls();
        for _ in 0..seconds {
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(1) {
                pace.tick().await;
                let (client, failed) = (self.client.clone(), self.failed.clone());
                tokio::spawn(async move {
                    if status(&client, get("/")).await.ok() != Some(200) {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let now = self.all[0].calls();
            per_second.push(now - before);
            before = now;
        }
        per_second
    }

    /// It is tried within the longest pause, has a fair share in the five seconds after that, and at
    /// no time a herd.
    async fn returns(&self, what: &str) {
        let per_second = self.load(22).await;
        let failed = self.failed.load(Ordering::Relaxed);
        let first = per_second.iter().position(|calls| *calls > 0).unwrap();
        let five: usize = per_second[first..first + 5].iter().sum();
        let share = five as f64 / (5 * EVEN) as f64;
        println!(
            "{what}: {:.0} % of an even share in the five seconds after its first call, {failed} \
             failed; by second since its return: {per_second:?}",
            share * 100.0
        );
        assert!(first <= 6, "{per_second:?}");
        assert!(share > 0.2, "{share}");
        let last: usize = per_second[18..].iter().sum();
        assert!(last >= 4 * EVEN * 3 / 4, "{per_second:?}");
        assert!(
            per_second.iter().all(|calls| *calls < EVEN * 3 / 2),
            "{per_second:?}"
        );
    }
}

const RETRY: &str = "route: [{ retry: { attempts: 2, codes: [503] } }]";

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_was_down_for_long_gets_its_share_within_5_s_of_its_restart() {
    let four = Four::new(RETRY);
    four.load(5).await;
    four.all[0].kill();
    let per_second = four.load(20).await;
    assert_eq!(per_second.iter().sum::<usize>(), 0);
    four.all[0].revive();
    four.returns("down for 20 s").await;
    assert_eq!(four.failed.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_was_restarted_at_once_gets_its_share_within_5_s() {
    let four = Four::new(RETRY);
    four.load(5).await;
    let under_way = (0..8).map(|_| status(&four.client, get("/")));
    let under_way = futures_util::future::join_all(under_way);
    let gone_and_back = async {
        sleep(MS).await;
        four.all[0].kill();
        four.all[0].revive();
    };
    // All that is seen of it is that calls broke.
    let (results, ()) = futures_util::future::join(under_way, gone_and_back).await;
    for result in results {
        assert_eq!(result.unwrap(), 200);
    }
    four.returns("gone and back at once").await;
    assert_eq!(four.failed.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_answers_503_after_a_broken_connection_stays_left_alone() {
    let four = Four::new(RETRY);
    four.load(5).await;
    four.all[0].answer(503, "");
    four.all[0].kill();
    four.all[0].revive();
    let per_second = four.load(30).await;
    println!("calls in each second of one that answers 503 at once: {per_second:?}");
    let share = per_second.iter().sum::<usize>() as f64 / (30.0 * 4.0 * EVEN as f64);
    assert!(share < 0.02, "{share}");
    assert_eq!(four.failed.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn the_probe_of_an_ejected_endpoint_does_not_fail_its_caller_without_a_budget() {
    let four = Four::new(
        "route: [{ retry: { attempts: 2, codes: [503] } }]\n\
         backend: { retryBudget: { percent: 0, minRetriesPerSecond: 0 }, \
         ceilings: { maxRetries: 0 }, loadBalancing: { algorithm: RoundRobin } }",
    );
    four.all[0].answer(503, "");
    four.load(1).await;
    let ejected = four.failed.load(Ordering::Relaxed);
    let calls = four.all[0].calls();
    four.load(60).await;
    sleep(Duration::from_secs(1)).await;
    let probes = four.all[0].calls() - calls;
    let failed = four.failed.load(Ordering::Relaxed) - ejected;
    println!(
        "{ejected} calls failed until the ejection; {probes} probes after it, {failed} calls failed"
    );
    assert!(probes >= 4, "{probes}");
    assert_eq!(failed, 0);
}
