use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response};
use http_body_util::BodyExt;
use mesh_core::{
    context::{Criticality, RequestContext},
    error::{ErrorKind, MeshError},
    policy::{ConcurrencyAlgorithm, ConcurrencyPolicy, QueuePolicy},
};
use tokio::sync::{Semaphore, mpsc};
use tower::{Service, ServiceExt, service_fn};
use tower_layer::Layer;

use super::OverloadLayer;
use crate::{body::MeshBody, deadline::inbound::InboundDeadlineLayer, runtime};

fn fixed(limit: u32, queue: u32) -> OverloadLayer {
    let concurrency = ConcurrencyPolicy::default()
        .with_algorithm(ConcurrencyAlgorithm::Fixed)
        .with_initial(limit);
    OverloadLayer::new(&concurrency, &QueuePolicy::default().with_size(queue))
}

fn request(level: Criticality, deadline: Option<Duration>) -> Request<MeshBody> {
    let mut context = RequestContext::start(&mut fastrand::Rng::new());
    context.criticality = level;
    context.deadline = deadline.map(|left| runtime::now() + left);
    let mut request = Request::new(MeshBody::empty());
    request.extensions_mut().insert(context);
    request
}

fn plain() -> Request<MeshBody> {
    request(Criticality::Critical, None)
}

/// A service that answers when it is let go on, and counts who came.
#[derive(Clone)]
struct Held {
    came: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
}

impl Held {
    fn new() -> Self {
        Self {
            came: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
        }
    }

    fn let_go(&self, calls: usize) {
        self.gate.add_permits(calls);
    }

    fn came(&self) -> usize {
        self.came.load(SeqCst)
    }

    fn service(
        &self,
    ) -> impl Service<
        Request<MeshBody>,
        Response = Response<MeshBody>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + 'static {
        let held = self.clone();
        service_fn(move |_: Request<MeshBody>| {
            let held = held.clone();
            held.came.fetch_add(1, SeqCst);
            async move {
                if let Ok(permit) = held.gate.acquire().await {
                    permit.forget();
                }
                Ok(Response::new(MeshBody::full("done")))
            }
        })
    }
}

/// Lets everything that can go on do so.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn above_the_limit_a_request_waits_and_above_the_queue_it_is_refused() {
    let (layer, held) = (fixed(1, 1), Held::new());
    let service = layer.layer(held.service());
    let first = tokio::spawn(service.clone().oneshot(plain()));
    settle().await;
    let second = tokio::spawn(service.clone().oneshot(plain()));
    settle().await;
    assert_eq!((layer.in_work(), layer.waiting(), held.came()), (1, 1, 1));
    let error = service.clone().oneshot(plain()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    assert!(error.is_retryable(), "it was not processed");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    held.let_go(2);
    assert!(first.await.unwrap().is_ok() && second.await.unwrap().is_ok());
    assert_eq!((layer.in_work(), layer.waiting(), held.came()), (0, 0, 2));
}

#[tokio::test(start_paused = true)]
async fn who_waits_longer_than_the_interval_is_refused_even_if_nothing_moves() {
    let (layer, held) = (fixed(1, 10), Held::new());
    let service = layer.layer(held.service());
    let _first = tokio::spawn(service.clone().oneshot(plain()));
    settle().await;
    let began = tokio::time::Instant::now();
    let error = service.clone().oneshot(plain()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    assert_eq!(began.elapsed().as_millis(), 100);
    assert_eq!((layer.waiting(), held.came()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_wait_counts_against_the_deadline_and_expired_work_is_never_begun() {
    let (layer, held) = (fixed(1, 10), Held::new());
    let limited = layer.layer(held.service());
    let service = InboundDeadlineLayer::new().layer(limited.clone());
    let _first = tokio::spawn(limited.clone().oneshot(plain()));
    settle().await;
    // With the deadline layer above, as a server has it: answered at the deadline.
    let short = request(Criticality::Critical, Some(Duration::from_millis(30)));
    let began = tokio::time::Instant::now();
    let error = service.clone().oneshot(short).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert_eq!(began.elapsed().as_millis(), 30);

    // Alone: its place comes when its deadline has passed.
    let short = request(Criticality::Critical, Some(Duration::from_millis(30)));
    let waiting = tokio::spawn(limited.clone().oneshot(short));
    settle().await;
    tokio::time::advance(Duration::from_millis(40)).await;
    held.let_go(1);
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert_eq!((held.came(), layer.in_work()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_most_critical_waits_least() {
    let (layer, held) = (fixed(1, 10), Held::new());
    let service = layer.layer(held.service());
    let (send, mut order) = mpsc::unbounded_channel();
    use Criticality::{Critical, CriticalPlus, Sheddable, SheddablePlus};
    for level in [Critical, Sheddable, SheddablePlus, Critical, CriticalPlus] {
        let (service, send) = (service.clone(), send.clone());
        tokio::spawn(async move {
            service.oneshot(request(level, None)).await.unwrap();
            send.send(level).unwrap();
        });
        settle().await;
    }
    let mut served = Vec::new();
    for _ in 0..5 {
        held.let_go(1);
        served.push(order.recv().await.unwrap());
        settle().await;
    }
    let expected = [Critical, CriticalPlus, Critical, SheddablePlus, Sheddable];
    assert_eq!(served, expected);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_request_leaves_the_queue_and_its_place() {
    let (layer, held) = (fixed(1, 10), Held::new());
    let service = layer.layer(held.service());
    let working = tokio::spawn(service.clone().oneshot(plain()));
    settle().await;
    let waiting = tokio::spawn(service.clone().oneshot(plain()));
    settle().await;
    assert_eq!(layer.waiting(), 1);
    waiting.abort();
    settle().await;
    assert_eq!((layer.waiting(), layer.in_work()), (0, 1));
    // Given a place that nobody takes any more: it goes on to the next.
    let gone = tokio::spawn(service.clone().oneshot(plain()));
    let next = tokio::spawn(service.clone().oneshot(plain()));
    settle().await;
    working.abort();
    gone.abort();
    settle().await;
    assert_eq!((layer.in_work(), layer.waiting()), (1, 0));
    held.let_go(1);
    assert!(next.await.unwrap().is_ok());
    assert_eq!(layer.in_work(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_counts_until_its_body_ends_and_a_stream_for_a_second() {
    let layer = fixed(1, 0).at_most(2);
    let (send, receive) = mpsc::channel::<Result<http_body::Frame<bytes::Bytes>, Infallible>>(1);
    let body = Mutex::new(Some(MeshBody::new(http_body_util::StreamBody::new(
        futures_util::stream::unfold(receive, |mut receive| async {
            Some((receive.recv().await?, receive))
        }),
    ))));
    let body = Arc::new(body);
    let service = layer.layer(service_fn(move |_: Request<MeshBody>| {
        let body = body.lock().unwrap().take();
        async move { Ok::<_, MeshError>(Response::new(body.unwrap_or_default())) }
    }));
    let answer = service.clone().oneshot(plain()).await.unwrap();
    assert_eq!(layer.in_work(), 1, "the head alone is no end");
    let error = service.clone().oneshot(plain()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);

    tokio::time::advance(Duration::from_secs(1)).await;
    // A place is wanted: the stream gives its own up, and the one after it is let in.
    let _ = service.clone().oneshot(plain()).await;
    assert_eq!(layer.in_work(), 0);
    assert!(service.clone().oneshot(plain()).await.is_ok());
    send.send(Ok(http_body::Frame::data("x".into())))
        .await
        .unwrap();
    drop(send);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "x");
    assert_eq!(layer.in_work(), 0, "and it is not given back twice");
}

#[tokio::test(start_paused = true)]
async fn a_stream_still_counts_against_the_fixed_bound() {
    let layer = fixed(10, 0).at_most(1);
    let service = layer.layer(service_fn(async |_: Request<MeshBody>| {
        let endless =
            futures_util::stream::pending::<Result<http_body::Frame<bytes::Bytes>, Infallible>>();
        let body = MeshBody::new(http_body_util::StreamBody::new(endless));
        Ok::<_, MeshError>(Response::new(body))
    }));
    let answer = service.clone().oneshot(plain()).await.unwrap();
    tokio::time::advance(Duration::from_secs(60)).await;
    let error = service.clone().oneshot(plain()).await.unwrap_err();
    assert_eq!(
        error.message(),
        "as many requests as the server bears are in work"
    );
    drop(answer);
    assert!(service.clone().oneshot(plain()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn no_order_of_calls_cancellations_and_answers_leaks_a_place() {
    for seed in 0..50 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (layer, held) = (fixed(3, 4), Held::new());
        let service = layer.layer(held.service());
        let mut calls = Vec::new();
        for _ in 0..200 {
            match rng.u32(0..10) {
                0..5 => {
                    let level = [
                        Criticality::Sheddable,
                        Criticality::SheddablePlus,
                        Criticality::Critical,
                        Criticality::CriticalPlus,
                    ][rng.usize(0..4)];
                    let deadline = rng.bool().then(|| Duration::from_millis(rng.u64(1..50)));
                    let service = InboundDeadlineLayer::new().layer(service.clone());
                    let call = tokio::spawn(service.oneshot(request(level, deadline)));
                    calls.push(call);
                }
                5..7 => held.let_go(1),
                7 => {
                    if let Some(at) = (!calls.is_empty()).then(|| rng.usize(0..calls.len())) {
                        calls.swap_remove(at).abort();
                    }
                }
                8 => tokio::time::advance(Duration::from_millis(rng.u64(0..60))).await,
                _ => settle().await,
            }
            assert!(
                layer.in_work() <= 4,
                "the limit, and a tenth for the uppermost"
            );
        }
        held.let_go(1_000);
        for call in calls {
            let _ = call.await;
        }
        settle().await;
        assert_eq!((layer.in_work(), layer.waiting()), (0, 0), "seed {seed}");
    }
}
