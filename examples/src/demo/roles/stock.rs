//! The old application for machines without python3: HTTP/1.1, knows nothing of a mesh, asks
//! `ratings` through `http_proxy`.

use std::net::{Ipv4Addr, SocketAddr};

use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::member::Error;
use super::plain;

pub(crate) fn run() -> Result<(), Error> {
    let port: u16 = std::env::var("PORT")?.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let router = Router::new().route("/stock/{id}", get(stock));
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = tokio::net::TcpListener::bind(addr).await?;
        // Ends by the shim's signal, as any application does.
        plain::accept(listener, router, CancellationToken::new()).await;
        Ok(())
    })
}

async fn stock(Path(id): Path<u64>) -> Response {
    match stars(id).await {
        Ok(stars) => {
            Json(serde_json::json!({ "product": id, "left": 10 - stars.min(10) })).into_response()
        }
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

async fn stars(id: u64) -> Result<u64, Error> {
    let proxy = std::env::var("http_proxy")?;
    let stream = TcpStream::connect(proxy.trim_start_matches("http://")).await?;
    let (mut client, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the connection, which is this call's.
    tokio::spawn(driver);
    let request = Request::get(format!("http://ratings.shop/ratings/{id}"))
        .header("host", "ratings.shop")
        .body(Empty::<Bytes>::new())?;
    let answer = client.send_request(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        return Err(format!("ratings: {status}: {}", String::from_utf8_lossy(&body)).into());
    }
    let value: serde_json::Value = serde_json::from_slice(&body)?;
    value["stars"].as_u64().ok_or_else(|| "no stars".into())
}
