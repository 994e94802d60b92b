//! The whole server stack before a handler of known capacity, on paused time.
//! Every figure is printed: `cargo test -p mesh-tower server::tests::load -- --nocapture`.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use mesh_core::{context::Criticality, identity::SpiffeId, metadata};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};
use tower::{Service, ServiceExt, service_fn};
use tower_layer::Layer;

use super::*;
use crate::transport::ConnInfo;

const WORKERS: usize = 40;
const WORK: Duration = Duration::from_millis(20);
const CAPACITY: f64 = WORKERS as f64 / 0.020;

/// One answer.
struct Ended {
    level: Criticality,
    at: Duration,
    latency: Duration,
    ok: bool,
}

fn from_peer(level: Criticality) -> Request<MeshBody> {
    let peer = SpiffeId::parse("spiffe://mesh.local/ns/shop/sa/web").unwrap();
    let mut request = Request::new(MeshBody::empty());
    request
        .headers_mut()
        .insert(metadata::CRITICALITY, level.as_str().parse().unwrap());
    request.extensions_mut().insert(ConnInfo {
        peer: Some(peer),
        ..ConnInfo::default()
    });
    request
}

/// Offers calls of the levels at their rates for so long; answers what came of them.
async fn offer<S>(service: &S, mix: &[(Criticality, f64)], secs: f64, seed: u64) -> Vec<Ended>
where
    S: Service<Request<MeshBody>, Response = Response<MeshBody>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let (mut rng, began) = (fastrand::Rng::with_seed(seed), Instant::now());
    let mut due = Vec::new();
    for (level, rate) in mix {
        let mut at = 0.0;
        while at < secs {
            due.push((Duration::from_secs_f64(at), *level));
            at += -rng.f64().max(1e-12).ln() / rate;
        }
    }
    due.sort_by_key(|(at, _)| *at);
    let mut calls = JoinSet::new();
    for (at, level) in due {
        tokio::time::sleep_until(began + at).await;
        let call = service.clone().oneshot(from_peer(level));
        calls.spawn(async move {
            let start = Instant::now();
            let Ok(answer) = call.await;
            let ok = answer.status() == 200;
            if !ok {
                assert_eq!(answer.headers()["mesh-reason"], "M2014");
                assert_eq!(answer.headers()["retry-after"], "1");
            }
            let _ = answer.into_body().collect().await;
            Ended {
                level,
                at,
                latency: start.elapsed(),
                ok,
            }
        });
    }
    calls.join_all().await
}

fn p99(ended: &[Ended]) -> Duration {
    let mut all: Vec<_> = ended.iter().filter(|e| e.ok).map(|e| e.latency).collect();
    all.sort_unstable();
    all[all.len() * 99 / 100]
}

/// A handler that serves 40 at a time for 20 ms each, give or take a half.
fn service(
    mesh: &Mesh,
) -> impl Service<Request<MeshBody>, Response = Response<MeshBody>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    let workers = Arc::new(Semaphore::new(WORKERS));
    let n = Arc::new(AtomicUsize::new(0));
    mesh.server_layer()
        .layer(service_fn(move |_: Request<MeshBody>| {
            let (workers, n) = (workers.clone(), n.fetch_add(1, Relaxed) as u32);
            async move {
                let _worker = workers.acquire().await;
                // 11 to 29 ms, 20 on average, in no order.
                tokio::time::sleep(WORK / 20 * (11 + n.wrapping_mul(8) % 19)).await;
                Ok::<_, Infallible>(Response::new(MeshBody::full("done")))
            }
        }))
}

#[tokio::test(start_paused = true)]
async fn at_twice_the_load_a_server_keeps_its_goodput_and_p99() {
    let mesh = mesh();
    let service = service(&mesh);
    let all = |rate| [(Criticality::Critical, rate)];
    let calm = offer(&service, &all(CAPACITY * 0.5), 3.0, 1).await;
    assert!(calm.iter().all(|ended| ended.ok));
    let busy = offer(&service, &all(CAPACITY * 2.0), 6.0, 2).await;
    let goodput = busy.iter().filter(|ended| ended.ok).count() as f64 / 6.0 / CAPACITY;
    let (before, after) = (p99(&calm), p99(&busy));
    println!(
        "the server stack at 2x: goodput {:.1} % of capacity, p99 {before:.1?} -> {after:.1?} ({:.2}x)",
        goodput * 100.0,
        after.as_secs_f64() / before.as_secs_f64()
    );
    assert!(goodput >= 0.90, "{goodput}");
    assert!(after <= before * 2, "{after:?}");

    let metrics = mesh.metrics_text();
    assert!(metrics.contains("mesh_server_shed_total{"), "{metrics}");
    assert!(metrics.contains("mesh_server_concurrency_limit{service=\"shop/reviews\"}"));
    let report = mesh.report();
    let web = report
        .inbound
        .iter()
        .find(|row| row.from.ends_with("web"))
        .unwrap();
    let refused = busy.iter().filter(|ended| !ended.ok).count() as u64;
    assert_eq!(web.codes["M2014"], refused);
}

#[tokio::test(start_paused = true)]
async fn at_ten_times_the_load_what_is_critical_is_served() {
    use Criticality::{Critical, CriticalPlus, Sheddable, SheddablePlus};
    let mesh = mesh();
    let service = service(&mesh);
    offer(&service, &[(Critical, CAPACITY * 0.5)], 2.0, 3).await;
    let mix = [
        (CriticalPlus, CAPACITY * 0.1),
        (Critical, CAPACITY * 0.4),
        (SheddablePlus, CAPACITY * 2.0),
        (Sheddable, CAPACITY * 7.5),
    ];
    let ended = offer(&service, &mix, 3.0, 4).await;
    let share = |level| {
        let of = || ended.iter().filter(move |ended| ended.level == level);
        of().filter(|ended| ended.ok).count() as f64 / of().count() as f64
    };
    println!(
        "the server stack at 10x: CRITICAL_PLUS {:.2} %, CRITICAL {:.2} %, SHEDDABLE_PLUS {:.1} %, SHEDDABLE {:.1} % served",
        share(CriticalPlus) * 100.0,
        share(Critical) * 100.0,
        share(SheddablePlus) * 100.0,
        share(Sheddable) * 100.0
    );
    assert!(share(Critical) >= 0.99 && share(CriticalPlus) >= 0.99);
    assert!(
        ended
            .iter()
            .any(|ended| ended.at > Duration::from_secs(2) && ended.ok)
    );
}
