use tower::service_fn;
use tower_layer::Layer;

use super::*;
use crate::stack::{SERVER_ORDER, names};

#[tokio::test]
async fn a_built_server_is_in_the_order_of_the_table() {
    assert_eq!(mesh().server().describe(), names(SERVER_ORDER));
}

#[tokio::test]
async fn the_layer_is_the_same_stack_without_sockets() {
    let service = mesh().server_layer().layer(service_fn(echo));
    assert_eq!(service.describe(), names(SERVER_ORDER)[3..]);
}

#[tokio::test]
async fn the_layer_works_under_axum() {
    use tower::ServiceExt;

    let app = axum::Router::new()
        .route("/hello", axum::routing::get(|| async { "hello" }))
        .layer(mesh().server_layer());
    let request = Request::get("/hello")
        .body(axum::body::Body::empty())
        .unwrap();
    let answer = app.oneshot(request).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "hello");
}
