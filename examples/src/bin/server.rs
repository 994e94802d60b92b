//! A server: mutual TLS, access, deadlines, metrics, registration and drain come with `serve`.
//!
//! `MESH_CONTROL=https://127.0.0.1:7443 MESH_IDENTITY=token:PATH cargo run --bin server -- 127.0.0.1:8080`

use mesh_examples::shop::reviews_server::{Reviews, ReviewsServer};
use mesh_examples::shop::{Answer, Query};
use tonic::{Request, Response, Status};

#[tokio::main]
async fn main() -> mesh_grpc::Result<()> {
    let addr = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "0.0.0.0:8080".to_owned());
    let mesh = mesh_grpc::join("shop/reviews").await?;
    mesh.serve(&addr, ReviewsServer::new(Opinions)).await?;
    Ok(())
}

struct Opinions;

#[tonic::async_trait]
impl Reviews for Opinions {
    async fn get(&self, query: Request<Query>) -> Result<Response<Answer>, Status> {
        let id = query.into_inner().id;
        Ok(Response::new(Answer {
            text: format!("product {id}: fine"),
            stars: 4,
            by: "server".into(),
        }))
    }
}
