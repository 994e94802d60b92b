use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body as _;
use mesh_core::error::{ErrorKind, MeshError};
use tower_service::Service;

use super::{
    CoalesceFuture, CoalesceLayer,
    flight::{Flight, Landed},
};
use crate::{
    BoxError,
    body::MeshBody,
    overload::level_of,
    stack::{BoxFuture, Describe, into_mesh_error},
};

/// Service of [`CoalesceLayer`].
#[derive(Clone, Debug)]
pub struct Coalesce<S> {
    pub(super) inner: S,
    pub(super) layer: CoalesceLayer,
}

// === impl Coalesce ===

impl<S> Service<Request<MeshBody>> for Coalesce<S>
where
    S: Service<Request<MeshBody>, Response = Response<MeshBody>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<MeshBody>;
    type Error = MeshError;
    type Future = CoalesceFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        self.inner.poll_ready(cx).map_err(into_mesh_error)
    }

    fn call(&mut self, request: Request<MeshBody>) -> Self::Future {
        let level = level_of(&request);
        let whole = request.body().is_end_stream() || self.layer.is_keyed();
        let (head, body) = request.into_parts();
        let key = whole.then(|| self.layer.key(&head, level)).flatten();
        let request = Request::from_parts(head, body);
        let Some(key) = key else {
            return CoalesceFuture::alone(self.inner.call(request));
        };
        // The one that is ready is used; the clone takes its place.
        let clone = self.inner.clone();
        let service = std::mem::replace(&mut self.inner, clone);
        CoalesceFuture::shared(Box::pin(share(self.layer.clone(), key, service, request)))
    }
}

impl<S: Describe> Describe for Coalesce<S> {
    fn describe(&self, into: &mut Vec<&'static str>) {
        into.push("coalesce");
        self.inner.describe(into);
    }
}

async fn share<S>(
    layer: CoalesceLayer,
    key: Vec<u8>,
    service: S,
    request: Request<MeshBody>,
) -> Result<Response<MeshBody>, MeshError>
where
    S: Service<Request<MeshBody>, Response = Response<MeshBody>> + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    let mut own = Some((service, request));
    // Once more if the one that led ran out of time: that was its deadline and not ours.
    for last in [false, true] {
        let Some((flight, leads)) = join(&layer, &key, &mut own) else {
            break;
        };
        let landed = flight.await;
        if !leads {
            layer.shared.increment(1);
        }
        match landed {
            Landed::Shared(Err(error))
                if !leads && !last && error.kind() == ErrorKind::Deadline && own.is_some() => {}
            Landed::Shared(result) => return result.map(|whole| whole.response()),
            Landed::One(answer) => {
                let taken = answer
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .take();
                match taken {
                    Some(answer) => return Ok(answer),
                    // Another one has it.
                    None => break,
                }
            }
        }
    }
    match own {
        Some((mut service, request)) => service.call(request).await.map_err(into_mesh_error),
        // Not reached: who led takes what it came to, or another one has taken it.
        None => Err(MeshError::new(
            ErrorKind::Internal,
            "the answer of a shared call was taken by another",
        )),
    }
}

/// Joins the call that is under way, or begins it with our own.
fn join<S>(
    layer: &CoalesceLayer,
    key: &[u8],
    own: &mut Option<(S, Request<MeshBody>)>,
) -> Option<(Flight, bool)>
where
    S: Service<Request<MeshBody>, Response = Response<MeshBody>> + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    let (most, any) = (layer.max_body, layer.is_keyed());
    layer
        .flights
        .join(key, layer.max_calls, || match own.take() {
            Some((mut service, request)) => Box::pin(async move {
                let result = service.call(request).await.map_err(into_mesh_error);
                Landed::gather(result, most, any).await
            }) as BoxFuture<Landed>,
            None => Box::pin(std::future::ready(Landed::Shared(Err(MeshError::new(
                ErrorKind::Internal,
                "a shared call without a request",
            ))))),
        })
}
