use http::{Request, Response};
use mesh_core::{
    classify::{Class, FailureKind},
    error::{Code, ErrorKind, MeshError},
};
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;

use super::FallbackLayer;
use crate::{MeshBody, telemetry::Recorder};

fn service(
    layer: &FallbackLayer,
    outcome: impl Fn() -> Result<Response<MeshBody>, MeshError> + Clone + Send + 'static,
) -> impl tower::Service<Request<MeshBody>, Response = Response<MeshBody>, Error = MeshError> {
    layer.layer(service_fn(move |_: Request<MeshBody>| {
        let outcome = outcome();
        async move { outcome }
    }))
}

fn status(status: u16) -> Result<Response<MeshBody>, MeshError> {
    Ok(Response::builder()
        .status(status)
        .body(MeshBody::full("theirs"))
        .unwrap())
}

async fn ask(
    layer: &FallbackLayer,
    outcome: impl Fn() -> Result<Response<MeshBody>, MeshError> + Clone + Send + 'static,
) -> Result<String, MeshError> {
    let answer = service(layer, outcome)
        .oneshot(Request::new(MeshBody::empty()))
        .await?;
    let body = answer.into_body().collect_to_bytes(100).await.unwrap();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn errors_and_failed_answers_are_replaced_and_counted() {
    let recorder = Recorder::new();
    let layer = FallbackLayer::new(|failed| match failed.error() {
        Some(error) => Response::new(MeshBody::full(error.code().to_string())),
        None => Response::new(MeshBody::full(
            failed.answer().unwrap().status().to_string(),
        )),
    })
    .counted(&recorder, "shop/reviews");
    let error = || Err(MeshError::new(ErrorKind::NoEndpoints, "none"));
    assert_eq!(
        ask(&layer, error).await.unwrap(),
        Code::NO_ENDPOINTS.to_string()
    );
    assert_eq!(
        ask(&layer, || status(503)).await.unwrap(),
        "503 Service Unavailable"
    );
    assert_eq!(ask(&layer, || status(404)).await.unwrap(), "theirs");
    assert_eq!(ask(&layer, || status(200)).await.unwrap(), "theirs");
    let text = recorder.render();
    let line = "mesh_fallbacks_total{service=\"shop/reviews\",class=\"unavailable\"} 1";
    assert!(text.contains(line), "{text}");
}

#[tokio::test]
async fn a_predicate_narrows_it_and_the_rest_stays_as_it_was() {
    let layer = FallbackLayer::new(|_| Response::new(MeshBody::full("ours")))
        .when(|failed| failed.class() == Class::Failure(FailureKind::Timeout));
    assert_eq!(ask(&layer, || status(504)).await.unwrap(), "ours");
    assert_eq!(ask(&layer, || status(500)).await.unwrap(), "theirs");
    let error = || Err(MeshError::new(ErrorKind::Denied, "not you"));
    assert_eq!(
        ask(&layer, error).await.unwrap_err().kind(),
        ErrorKind::Denied
    );
}

#[tokio::test]
async fn a_grpc_call_is_judged_by_its_status_and_a_cancelled_one_is_left_alone() {
    let layer = FallbackLayer::new(|_| Response::new(MeshBody::full("ours"))).when(|_| true);
    let grpc = |code: &'static str| {
        let service = service(&layer, move || {
            let answer = Response::builder().header("grpc-status", code);
            Ok(answer.body(MeshBody::full("theirs")).unwrap())
        });
        let request = Request::builder().header("content-type", "application/grpc");
        let request = request.body(MeshBody::empty()).unwrap();
        async move {
            let answer = service.oneshot(request).await.unwrap();
            answer.into_body().collect_to_bytes(100).await.unwrap()
        }
    };
    assert_eq!(grpc("14").await, "ours");
    assert_eq!(grpc("0").await, "theirs");
    assert_eq!(grpc("5").await, "theirs");
    assert_eq!(grpc("1").await, "theirs", "cancelled");
}
