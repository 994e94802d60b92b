//! A client without gRPC and without a control server: policy from a file.
//!
//! `cargo run --bin hyper_client -- mesh.yaml http://reviews.shop/reviews/7`

#![allow(clippy::print_stdout, reason = "a program that prints its answer")]

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use mesh_tower::{BoxError, Mesh};
use tower_service::Service as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let mut args = std::env::args().skip(1);
    let (Some(policy), Some(url)) = (args.next(), args.next()) else {
        return Err("usage: hyper_client POLICY.yaml http://SERVICE/PATH".into());
    };
    let mesh = Mesh::builder("shop/web").policy_file(policy).build()?;
    let request = Request::get(url).body(Empty::<Bytes>::new())?;
    let answer = mesh.proxy_client().call(request).await?;
    println!("{}", answer.status());
    let body = answer.into_body().collect().await?.to_bytes();
    println!("{}", String::from_utf8_lossy(&body));
    Ok(())
}
