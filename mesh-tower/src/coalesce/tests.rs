use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Request, Response};
use mesh_core::error::{ErrorKind, MeshError};
use tokio::{sync::Semaphore, task::JoinHandle};
use tower::{Service, ServiceExt, service_fn};
use tower_layer::Layer;

use super::CoalesceLayer;
use crate::{MeshBody, telemetry::Recorder};

type Outcome = Result<Response<MeshBody>, MeshError>;

/// A service that answers when it is let go on.
struct Backend {
    calls: Arc<AtomicUsize>,
    go: Arc<Semaphore>,
    layer: CoalesceLayer,
    outcome: Arc<dyn Fn(usize) -> Outcome + Send + Sync>,
}

impl Backend {
    fn new(
        layer: CoalesceLayer,
        outcome: impl Fn(usize) -> Outcome + Send + Sync + 'static,
    ) -> Self {
        Self {
            calls: Arc::default(),
            go: Arc::new(Semaphore::new(0)),
            layer,
            outcome: Arc::new(outcome),
        }
    }

    fn call(&self, request: Request<MeshBody>) -> JoinHandle<Result<String, MeshError>> {
        let (calls, go, outcome) = (self.calls.clone(), self.go.clone(), self.outcome.clone());
        let mut service = self.layer.layer(service_fn(move |_: Request<MeshBody>| {
            let n = calls.fetch_add(1, SeqCst);
            let (go, outcome) = (go.clone(), outcome.clone());
            async move {
                go.acquire().await.unwrap().forget();
                outcome(n)
            }
        }));
        tokio::spawn(async move {
            let answer = service.ready().await?.call(request).await?;
            let body = answer.into_body().collect_to_bytes(1 << 20).await;
            Ok(String::from_utf8(body.unwrap().to_vec()).unwrap())
        })
    }

    fn get(&self) -> JoinHandle<Result<String, MeshError>> {
        self.call(Request::get("/x").body(MeshBody::empty()).unwrap())
    }

    fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }
}

fn text(n: usize) -> Outcome {
    Ok(Response::new(MeshBody::full(format!("answer {n}"))))
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_callers_make_one_call() {
    let recorder = Recorder::new();
    let layer = CoalesceLayer::new().counted(&recorder, "shop/reviews");
    let backend = Backend::new(layer, text);
    let callers: Vec<_> = (0..100).map(|_| backend.get()).collect();
    settle().await;
    assert_eq!((backend.calls(), backend.layer.under_way()), (1, 1));
    backend.go.add_permits(1);
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), "answer 0");
    }
    assert_eq!(backend.layer.under_way(), 0);
    let said = recorder.render();
    assert!(
        said.contains("mesh_coalesced_total{service=\"shop/reviews\"} 99"),
        "{said}"
    );
    // It is no cache: the next one is a call of its own.
    backend.go.add_permits(1);
    assert_eq!(backend.get().await.unwrap().unwrap(), "answer 1");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_safe_or_not_the_same_is_not_shared() {
    let backend = Backend::new(CoalesceLayer::new(), text);
    let post = || Request::post("/x").body(MeshBody::empty()).unwrap();
    let _posts = [backend.call(post()), backend.call(post())];
    let other = Request::get("/x").header("authorization", "me");
    let _others = [
        backend.get(),
        backend.call(other.body(MeshBody::empty()).unwrap()),
    ];
    settle().await;
    assert_eq!(backend.calls(), 4);

    let keyed = CoalesceLayer::new().keyed(|head| Some(head.uri.path().into()));
    let backend = Backend::new(keyed, text);
    let _posts = [backend.call(post()), backend.call(post())];
    settle().await;
    assert_eq!(backend.calls(), 1, "a key of the user's own");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_leader_hands_over_and_without_waiters_the_call_ends() {
    let backend = Backend::new(CoalesceLayer::new(), text);
    let leader = backend.get();
    settle().await;
    let follower = backend.get();
    settle().await;
    leader.abort();
    settle().await;
    backend.go.add_permits(1);
    assert_eq!(follower.await.unwrap().unwrap(), "answer 0");
    assert_eq!(backend.calls(), 1);

    let alone = backend.get();
    settle().await;
    assert_eq!(backend.layer.under_way(), 1);
    alone.abort();
    settle().await;
    assert_eq!(backend.layer.under_way(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_shared_and_the_leaders_deadline_is_not() {
    let failing = |kind| move |_: usize| Err(MeshError::new(kind, "sorry"));
    let backend = Backend::new(CoalesceLayer::new(), failing(ErrorKind::NoEndpoints));
    let callers: Vec<_> = (0..10).map(|_| backend.get()).collect();
    settle().await;
    backend.go.add_permits(1);
    for caller in callers {
        let error = caller.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoEndpoints);
    }
    assert_eq!(backend.calls(), 1);

    let late_once = |n| match n {
        0 => Err(MeshError::new(ErrorKind::Deadline, "late")),
        n => text(n),
    };
    let backend = Backend::new(CoalesceLayer::new(), late_once);
    let callers: Vec<_> = (0..10).map(|_| backend.get()).collect();
    settle().await;
    backend.go.add_permits(1);
    settle().await;
    assert_eq!(
        backend.calls(),
        2,
        "those with more time share the next one"
    );
    backend.go.add_permits(1);
    let mut ended = Vec::new();
    for caller in callers {
        ended.push(caller.await.unwrap().map_err(|error| error.kind()));
    }
    assert_eq!(ended.remove(0), Err(ErrorKind::Deadline));
    assert!(
        ended.iter().all(|one| one.as_deref() == Ok("answer 1")),
        "{ended:?}"
    );
    assert_eq!(backend.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_long_or_private_goes_to_one_and_the_others_call_themselves() {
    let long = Backend::new(CoalesceLayer::new().with_max_body(5), |n| {
        let frames = ["abc", "def", "ghi"]
            .map(|text| Ok::<_, MeshError>(http_body::Frame::data(text.into())));
        let body = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
        let answer = Response::new(MeshBody::new(body));
        if n == 0 { Ok(answer) } else { text(n) }
    });
    let private = Backend::new(CoalesceLayer::new(), |n| {
        let answer = Response::builder().header("cache-control", "max-age=1, Private");
        Ok(answer.body(MeshBody::full(format!("answer {n}"))).unwrap())
    });
    let vary = Backend::new(CoalesceLayer::new(), |n| {
        let answer = Response::builder().header("vary", "accept, x-device");
        Ok(answer.body(MeshBody::full(format!("answer {n}"))).unwrap())
    });
    for (backend, first) in [
        (long, "abcdefghi"),
        (private, "answer 0"),
        (vary, "answer 0"),
    ] {
        let callers: Vec<_> = (0..3).map(|_| backend.get()).collect();
        settle().await;
        assert_eq!(backend.calls(), 1);
        backend.go.add_permits(3);
        let mut answers = Vec::new();
        for caller in callers {
            answers.push(caller.await.unwrap().unwrap());
        }
        answers.sort();
        let mut expected = vec![first.to_owned(), "answer 1".into(), "answer 2".into()];
        expected.sort();
        assert_eq!(answers, expected);
        assert_eq!(backend.calls(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn trailers_are_shared_too_and_keys_are_bounded() {
    let layer = CoalesceLayer::new().with_max_calls(1);
    let backend = Backend::new(layer, text);
    let _first = backend.get();
    settle().await;
    let other = || Request::get("/other").body(MeshBody::empty()).unwrap();
    let _others = [backend.call(other()), backend.call(other())];
    settle().await;
    assert_eq!((backend.calls(), backend.layer.under_way()), (3, 1));

    let layer = CoalesceLayer::new();
    let mut service = layer.layer(service_fn(async |_: Request<MeshBody>| {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
        let frames = [
            http_body::Frame::data("x".into()),
            http_body::Frame::trailers(trailers),
        ];
        let body = http_body_util::StreamBody::new(futures_util::stream::iter(
            frames.map(Ok::<_, MeshError>),
        ));
        Ok::<_, MeshError>(Response::new(MeshBody::new(body)))
    }));
    let get = || Request::get("/x").body(MeshBody::empty()).unwrap();
    let (one, two) = (service.call(get()), service.clone().oneshot(get()));
    for answer in [one.await, two.await] {
        let whole = http_body_util::BodyExt::collect(answer.unwrap().into_body())
            .await
            .unwrap();
        assert_eq!(whole.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(whole.to_bytes(), "x");
    }
}
