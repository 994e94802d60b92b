//! `web`: what users call, plain HTTP on loopback; asks `reviews` and `legacy-stock`.

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Empty};
use mesh_core::error::MeshError;
use mesh_core::metadata;
use mesh_tower::MeshClient;
use tonic::{Code, Status};
use tower_service::Service as _;

use super::member::{self, Error, Member, loopback};
use super::plain;
use crate::shop::Query;
use crate::shop::reviews_client::ReviewsClient;

/// Stock is asked for one product in so many: the old application is not the fastest.
const STOCK_EVERY: u64 = 5;

pub(crate) fn run() -> Result<(), Error> {
    member::run("web", &[], async |member: Member| {
        let shop = Shop {
            reviews: ReviewsClient::new(member.mesh.client("reviews.shop")),
            stock: member.mesh.client("legacy-stock.shop"),
        };
        let router = Router::new()
            .route("/product/{id}", get(product))
            .with_state(shop);
        plain::serve(&member, loopback(), router).await
    })
}

#[derive(Clone)]
struct Shop {
    reviews: ReviewsClient<MeshClient>,
    stock: MeshClient,
}

async fn product(Path(id): Path<u64>, State(mut shop): State<Shop>) -> Response {
    let answer = match shop.reviews.get(Query { id }).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return failed_by_status(&status),
    };
    let mut page = serde_json::json!({
        "id": id, "text": answer.text, "stars": answer.stars, "by": answer.by,
    });
    if id % STOCK_EVERY == 0 {
        match stock(&mut shop.stock, id).await {
            Ok(left) => page["left"] = left,
            Err(response) => return response,
        }
    }
    Json(page).into_response()
}

async fn stock(client: &mut MeshClient, id: u64) -> Result<serde_json::Value, Response> {
    let bad = |text: String| (StatusCode::BAD_GATEWAY, text).into_response();
    let request = http::Request::get(format!("http://legacy-stock.shop/stock/{id}"))
        .body(Empty::<Bytes>::new())
        .map_err(|error| bad(error.to_string()))?;
    let answer = client
        .call(request)
        .await
        .map_err(|error: MeshError| (error.http_status(), error.to_string()).into_response())?;
    let status = answer.status();
    let body = answer
        .into_body()
        .collect()
        .await
        .map_err(|error| bad(error.to_string()))?;
    let body = body.to_bytes();
    if !status.is_success() {
        return Err(bad(format!(
            "stock: {status}: {}",
            String::from_utf8_lossy(&body)
        )));
    }
    let value: serde_json::Value =
        serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?;
    Ok(value["left"].clone())
}

/// The status in words for users; the code of the mesh goes along, for it is what they report.
fn failed_by_status(status: &Status) -> Response {
    let code = match status.code() {
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let reason = status.metadata().get(metadata::REASON.as_str());
    let mut text = format!("reviews: {}", status.message());
    if let Some(reason) = reason.and_then(|reason| reason.to_str().ok())
        && !text.contains(reason)
    {
        text.push_str(&format!(" [{reason}]"));
    }
    (code, text).into_response()
}
