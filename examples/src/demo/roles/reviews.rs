//! `reviews`: gRPC by tonic; asks `ratings` for the stars.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use mesh_core::error::MeshError;
use mesh_tower::MeshClient;
use tonic::{Request, Response, Status};
use tower_service::Service as _;

use super::member::{self, Error, Member, loopback};
use super::serve::serve;
use crate::demo::fault::Fault;
use crate::shop::reviews_server::{Reviews, ReviewsServer};
use crate::shop::{Answer, Query};

pub(crate) fn run(name: String, release: String, seed: u64) -> Result<(), Error> {
    member::run(
        "reviews",
        &[("version", &release)],
        async |member: Member| {
            let opinions = Opinions {
                name,
                ratings: member.mesh.client("ratings.shop"),
                fault: member.fault.clone(),
                dice: Mutex::new(fastrand::Rng::with_seed(seed)),
            };
            serve(&member, loopback(), ReviewsServer::new(opinions)).await
        },
    )
}

struct Opinions {
    name: String,
    ratings: MeshClient,
    fault: Arc<Fault>,
    dice: Mutex<fastrand::Rng>,
}

#[tonic::async_trait]
impl Reviews for Opinions {
    async fn get(&self, query: Request<Query>) -> Result<Response<Answer>, Status> {
        if let Some(delay) = self.fault.delay() {
            tokio::time::sleep(delay).await;
        }
        let dice = self
            .dice
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .u32(0..100);
        if self.fault.fails(dice) {
            return Err(Status::unavailable("told to fail"));
        }
        let id = query.into_inner().id;
        let stars = self.stars(id).await?;
        let text = format!("{stars} of 5 for product {id}");
        Ok(Response::new(Answer {
            text,
            stars,
            by: self.name.clone(),
        }))
    }
}

impl Opinions {
    async fn stars(&self, id: u64) -> Result<u32, Status> {
        let request = http::Request::get(format!("http://ratings.shop/ratings/{id}"))
            .body(Empty::<Bytes>::new())
            .map_err(|error| Status::internal(error.to_string()))?;
        let answer = self
            .ratings
            .clone()
            .call(request)
            .await
            .map_err(|error: MeshError| mesh_grpc::status(&error))?;
        let (head, body) = answer.into_parts();
        let body = body
            .collect()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        if !head.status.is_success() {
            let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            return Err(Status::unavailable(format!(
                "ratings: {}: {text}",
                head.status
            )));
        }
        let value: serde_json::Value = serde_json::from_slice(&body.to_bytes())
            .map_err(|error| Status::internal(format!("ratings: {error}")))?;
        let stars = value["stars"]
            .as_u64()
            .and_then(|stars| u32::try_from(stars).ok());
        stars.ok_or_else(|| Status::internal("ratings: no stars"))
    }
}
