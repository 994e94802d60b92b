//! A peer without a mesh: the application, or a host that the policy does not know.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, Version};
use mesh_core::error::MeshError;
use mesh_tower::body::MeshBody;
use mesh_tower::transport::EndpointPool;
use mesh_tower::upgrade::Relay;
use tower_service::Service;

/// Sends requests as they are to one peer, in the version that it speaks; an upgrade that it agrees to
/// becomes a tunnel.
#[derive(Clone)]
pub(crate) struct PlainPeer {
    pool: Arc<EndpointPool>,
    /// What the peer speaks; the caller's version means nothing to it.
    version: Version,
    /// A failure, as the caller is told of it.
    told: fn(MeshError) -> MeshError,
}

impl PlainPeer {
    pub(crate) fn new(pool: Arc<EndpointPool>, version: Version) -> Self {
        Self {
            pool,
            version,
            told: std::convert::identity,
        }
    }

    /// With failures told so.
    pub(crate) fn telling(self, told: fn(MeshError) -> MeshError) -> Self {
        Self { told, ..self }
    }
}

impl Service<Request<MeshBody>> for PlainPeer {
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, MeshError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<MeshBody>) -> Self::Future {
        let relay = Relay::of(&mut request);
        *request.version_mut() = self.version;
        let (pool, told) = (self.pool.clone(), self.told);
        Box::pin(async move {
            let answer = pool.call(request).await.map_err(told)?;
            Ok(Relay::answer(relay, answer))
        })
    }
}
