//! One of a row of services, for tests: it passes a call on, or answers it.
//!
//! Before it is ready it may make a call of its own, to say how soon it could. At its end it says
//! how many calls it was asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::Router;
use clap::Args;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use mesh_tower::{MeshBody, MeshClient};
use tower_service::Service as _;

use super::lines::tell;
use super::member::{self, Error, Member, loopback};

/// What a hop does.
#[derive(Debug, Args)]
pub(super) struct Hop {
    /// The service that it is.
    #[arg(long)]
    service: String,
    /// What its answers say.
    #[arg(long, default_value = "")]
    says: String,
    /// The status of its answers, unless it has somebody to ask.
    #[arg(long, default_value_t = 200)]
    status: u16,
    /// The service that it asks for each call.
    #[arg(long)]
    next: Option<String>,
    /// Asks `next` once before it is ready.
    #[arg(long, requires = "next")]
    first: bool,
    /// Where it listens; any free port of loopback when left out.
    #[arg(long)]
    listen: Option<SocketAddr>,
}

pub(super) fn run(hop: Hop) -> Result<(), Error> {
    let began = Instant::now();
    let service = hop.service.clone();
    member::run(&service, &[], async |member: Member| {
        let joined = began.elapsed();
        let next = hop.next.as_deref().map(|next| member.mesh.client(next));
        let first = match &next {
            Some(next) if hop.first => Some(pass(next.clone()).await),
            _ => None,
        };
        let first_served = began.elapsed();
        let asked = Arc::new(AtomicU64::new(0));
        let (count, says) = (asked.clone(), hop.says);
        let status = StatusCode::from_u16(hop.status)?;
        let answer = move || {
            count.fetch_add(1, Ordering::Relaxed);
            let (next, says) = (next.clone(), says.clone());
            async move {
                match next {
                    Some(next) => pass(next).await,
                    None => (status, says),
                }
            }
        };
        let addr = hop.listen.unwrap_or_else(loopback);
        let server = member
            .mesh
            .server()
            .bind(&addr.to_string())?
            .serve(Router::new().fallback(answer))?;
        tell(format_args!(
            "ready addr={} joined_us={} first_us={} first={}",
            server.local_addr(),
            joined.as_micros(),
            first_served.as_micros(),
            first.map_or(0, |(status, _)| status.as_u16()),
        ));
        member.stop.cancelled().await;
        member.mesh.shutdown().await;
        tell(format_args!(
            "served calls={}",
            asked.load(Ordering::Relaxed)
        ));
        Ok(())
    })
}

/// What `next` answers; its own failure as the status that the mesh has for it.
async fn pass(mut next: MeshClient) -> (StatusCode, String) {
    match next.call(Request::new(MeshBody::empty())).await {
        Ok(answer) => {
            let status = answer.status();
            let body = answer.into_body().collect().await;
            body.map_or_else(
                |error| (StatusCode::BAD_GATEWAY, error.to_string()),
                |body| {
                    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
                    (status, text)
                },
            )
        }
        Err(error) => (error.http_status(), error.to_string()),
    }
}
