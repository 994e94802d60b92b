//! A client: any generated tonic client over the mesh.
//!
//! `MESH_CONTROL=https://127.0.0.1:7443 MESH_IDENTITY=token:PATH cargo run --bin client`

#![allow(clippy::print_stdout, reason = "a program that prints its answer")]

use mesh_examples::shop::{Query, reviews_client::ReviewsClient};

#[tokio::main]
async fn main() -> mesh_grpc::Result<()> {
    let mesh = mesh_grpc::join("shop/web").await?;
    let mut reviews = ReviewsClient::new(mesh.client("reviews.shop:8080"));
    println!("{:?}", reviews.get(Query { id: 7 }).await?.into_inner());
    Ok(())
}
