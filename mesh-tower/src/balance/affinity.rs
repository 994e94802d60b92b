use std::future::Future;

use http::{HeaderValue, Request, Response, header};
use mesh_core::error::MeshError;
use mesh_core::route::key;

use crate::body::MeshBody;
use crate::context;
use crate::live_view::BackendView;
use crate::stack::BoxFuture;

/// What binds a request to an endpoint, by the hash policy of its backend.
#[derive(Default)]
pub(super) struct Affinity {
    /// `None`: the request has nothing of what is hashed, so any endpoint is as good.
    pub(super) hash: Option<u64>,
    /// To be given to a caller that has none.
    pub(super) cookie: Option<HeaderValue>,
}

// === impl Affinity ===

impl Affinity {
    /// Of a request to a backend that goes by hashes; others need not ask.
    pub(super) fn of(request: &Request<MeshBody>, backend: &BackendView) -> Self {
        let on = backend.policy().hash_on();
        let (uri, headers) = (request.uri(), request.headers());
        let mut cookie = None;
        let mut given = String::new();
        if let Some(lacking) = key::lacking_cookie(on, headers) {
            given = format!("{:016x}", fastrand::u64(..));
            cookie = key::given_cookie(lacking, &given);
        }
        let hash = |source: &[u8]| key::hash_with(on, uri, headers, Some(source), &given);
        // Whoever this process is serving; outside of a request, the process itself.
        let hash = context::with(|context| {
            context
                .peer
                .as_ref()
                .map(|peer| hash(peer.as_str().as_bytes()))
        });
        let hash = hash.flatten().unwrap_or_else(|| {
            let seed = backend.place().seed.to_be_bytes();
            key::hash_with(on, uri, headers, Some(&seed), &given)
        });
        Self { hash, cookie }
    }
}

/// An answer that gives its caller a cookie.
pub(super) fn giving(
    cookie: HeaderValue,
    answer: impl Future<Output = Result<Response<MeshBody>, MeshError>> + Send + 'static,
) -> BoxFuture<Result<Response<MeshBody>, MeshError>> {
    Box::pin(async move {
        let mut response = answer.await?;
        response.headers_mut().append(header::SET_COOKIE, cookie);
        Ok(response)
    })
}
