//! A paced load by the mesh's client, and what became of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hdrhistogram::Histogram;
use http::Request;
use http_body_util::BodyExt as _;
use mesh_tower::{MeshBody, MeshClient};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Calls under way at most: a machine that is too slow for the rate offers less, and fails nothing by it.
const IN_FLIGHT: usize = 256;
/// A caller does not wait longer for one call.
const CALL: Duration = Duration::from_secs(5);

/// Calls at a steady rate until it is ended. A call's latency counts from the moment it was due.
pub(crate) struct Load {
    figures: Arc<Mutex<Figures>>,
    stop: CancellationToken,
    pacing: JoinHandle<()>,
    began: Instant,
}

/// What became of the calls.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) calls: u64,
    /// By status, error or answer: how many did not succeed.
    pub(crate) failed: BTreeMap<String, u64>,
    /// By the text of the answer: who served how many.
    pub(crate) by: BTreeMap<String, u64>,
    latency: Histogram<u64>,
    pub(crate) took: Duration,
}

impl Load {
    pub(crate) fn start(client: MeshClient, rate: u32) -> Self {
        let figures = Arc::new(Mutex::new(Figures::new()));
        let stop = CancellationToken::new();
        let pacing = tokio::spawn(pace(client, rate, figures.clone(), stop.clone()));
        Self {
            figures,
            stop,
            pacing,
            began: Instant::now(),
        }
    }

    /// What was recorded so far.
    pub(crate) fn so_far(&self) -> Figures {
        let mut figures = self.figures.lock().expect("not poisoned").clone();
        figures.took = self.began.elapsed();
        figures
    }

    /// Starts no further call, and waits for those under way.
    pub(crate) async fn end(self) -> Figures {
        self.stop.cancel();
        let figures = self.figures.clone();
        let took = self.began.elapsed();
        self.pacing.await.expect("the load goes on");
        let mut figures = figures.lock().expect("not poisoned").clone();
        figures.took = took;
        figures
    }
}

impl Figures {
    fn new() -> Self {
        Self {
            calls: 0,
            failed: BTreeMap::new(),
            by: BTreeMap::new(),
            latency: Histogram::new_with_bounds(1, 60_000_000, 2).expect("good bounds"),
            took: Duration::ZERO,
        }
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    pub(crate) fn quantile(&self, q: f64) -> Duration {
        Duration::from_micros(self.latency.value_at_quantile(q))
    }

    /// Calls a second.
    pub(crate) fn rate(&self) -> f64 {
        self.calls as f64 / self.took.as_secs_f64().max(0.001)
    }
}

async fn pace(
    client: MeshClient,
    rate: u32,
    figures: Arc<Mutex<Figures>>,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(IN_FLIGHT));
    let calls = TaskTracker::new();
    let mut pace = interval(Duration::from_secs(1) / rate);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while let Some(due) = stop.run_until_cancelled(pace.tick()).await {
        let place = places.clone().acquire_owned().await.expect("open");
        let (client, figures) = (client.clone(), figures.clone());
        calls.spawn(async move {
            let outcome = timeout(CALL, call(client)).await;
            let outcome = outcome.unwrap_or_else(|_| Err(format!("no answer in {CALL:?}")));
            let took = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
            drop(place);
            let mut figures = figures.lock().expect("not poisoned");
            figures.calls += 1;
            figures.latency.saturating_record(took.clamp(1, 60_000_000));
            match outcome {
                Ok(by) => *figures.by.entry(by).or_default() += 1,
                Err(what) => *figures.failed.entry(what).or_default() += 1,
            }
        });
    }
    calls.close();
    calls.wait().await;
}

async fn call(mut client: MeshClient) -> Result<String, String> {
    use tower_service::Service as _;
    let answer = client.call(Request::new(MeshBody::empty())).await;
    let answer = answer.map_err(|error| format!("{error:#}"))?;
    let status = answer.status();
    let body = answer.into_body().collect().await;
    let body = body.map_err(|error| format!("body: {error}"))?.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    match status.is_success() {
        true => Ok(text),
        false => Err(format!("{status}: {text}")),
    }
}
